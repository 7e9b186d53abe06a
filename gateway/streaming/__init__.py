"""Streaming sessions: over a WebSocket, multiplexed or not, and by server-sent events."""
