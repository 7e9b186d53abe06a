"""Sessions: the state machine, WebSocket, multiplexing, server-sent events."""
