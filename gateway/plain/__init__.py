"""Plain requests: JSON, forms and files without an envelope (`docs/calling.md`)."""
