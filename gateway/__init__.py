"""The gateway (WebGate): it routes, validates and answers requests.

Loader frames are opaque bytes to it: `atom` encodes and decodes them.
"""
