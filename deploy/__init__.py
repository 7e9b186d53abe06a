"""Deployment files for other programs, rendered from the product's configuration."""
