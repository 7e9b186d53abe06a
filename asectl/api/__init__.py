"""`asectl api`: schemas, from a declaration to a client."""
