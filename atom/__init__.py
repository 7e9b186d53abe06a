"""Conversion between JSON envelopes and ASE frames, and calls that carry frames to loaders."""
