"""HTTP/1.1: connections, the fast path for unary requests, the ASGI application."""
