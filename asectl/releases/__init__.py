"""The commands for the files in a registry: `asectl config upload`, `publish`, `status`, ..."""
