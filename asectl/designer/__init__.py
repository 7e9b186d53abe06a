"""The page of `asectl api web`: an API is designed in a form, and seen as schema and YAML."""
