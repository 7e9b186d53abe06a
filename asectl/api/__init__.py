"""`asectl api`: create, check, compare and show schemas, and generate clients from them."""
