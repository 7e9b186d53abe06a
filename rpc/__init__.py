"""gRPC over HTTP/2: client and server. Messages are opaque bytes; nothing here parses them."""
