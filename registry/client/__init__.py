"""What a process uses that takes its configuration from a registry, or registers there."""
