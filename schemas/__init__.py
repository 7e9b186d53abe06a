"""The contracts: protos, errors, the service model and its compilation. Knows nobody."""
