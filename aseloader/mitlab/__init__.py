"""Runs inference templates of MITLab as loaders, unchanged."""
