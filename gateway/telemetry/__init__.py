"""Access log, metrics and the admin application."""
