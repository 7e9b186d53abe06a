"""`asectl config`: what the options are, and what they are here."""
