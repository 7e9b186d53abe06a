"""`asectl config`: show and check the options, and document them."""
