"""The port for gRPC clients: `ase.v1.Gateway`, the plain members of a request with types."""
