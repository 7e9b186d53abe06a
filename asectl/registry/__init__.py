"""The commands of the registry's own process: `asectl registry`."""
