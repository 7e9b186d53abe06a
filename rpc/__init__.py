"""gRPC over HTTP/2: calling and serving. Knows bytes and statuses, no messages."""
