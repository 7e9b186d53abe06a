"""Changes that a schema asks for, applied to valid bodies."""
