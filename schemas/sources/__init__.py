"""Where schemas come from: declarations, ApiSchema YAML, Python sources, documents."""
