"""Wrappers of the PyPI package `aiges` (0.5 to 0.16) as they are, with or without the package."""
