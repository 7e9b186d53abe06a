"""Configuration and discovery: versions, releases, gray releases, feedback, providers."""
