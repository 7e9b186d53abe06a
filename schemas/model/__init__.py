"""Values: services, errors, sessions, documents, data types."""
