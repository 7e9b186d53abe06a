"""Who calls: credentials, keys, signatures and tokens, and what their owners may do."""
