"""The loader of the stream bench: serves the native gRPC method `Session` and echoes each frame.

It parses and writes HTTP/2 frames itself, only as far as the gateway's client needs it. A server on
grpc.aio uses three times as much processor time as the gateway that is measured.

Usage: python -m bench.echo_loader PORT
"""

import asyncio
import struct
import sys
from typing import cast

import uvloop

from rpc import frames
from rpc.frames import ACK, DATA, END_HEADERS, END_STREAM, HEADERS, PING, SETTINGS
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload

# A session with this `lang` gets its first result after SLOW_S seconds, as from a model.
SLOW, SLOW_S = "slow", 0.02
_WINDOW = 1 << 30
_RESPONSE_HEADERS = bytes([0x88]) + b"\x0f\x10\x10application/grpc"  # :status 200, content-type
_RESPONSE_TRAILERS = b"\x00\x0bgrpc-status\x010"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class EchoConnection(asyncio.Protocol):
    """One HTTP/2 connection from a gateway.

    `_outgoing` are the frames to write at the end of the current read, in one write.
    `_unacknowledged` are the bytes of DATA received since the last WINDOW_UPDATE of the connection;
    it is sent at half of `_WINDOW`. `_partial_messages` has the bytes of an incomplete gRPC message
    by stream. `_slow_streams` are the streams whose result waits for its timer; the timer ends
    them, not the END_STREAM of the gateway. Header blocks are not decoded: every stream is treated
    as a call of `Session`.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._preface_received = False
        self._outgoing: list[bytes] = []
        self._unacknowledged = 0
        self._partial_messages: dict[int, bytes] = {}
        self._slow_streams: set[int] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send SETTINGS and a WINDOW_UPDATE that practically disable flow control.

        1,000,000 concurrent streams, and windows of 1 GiB for each stream and for the connection.
        """
        self._transport = cast("asyncio.Transport", transport)
        settings = struct.pack(">HIHI", 3, 1_000_000, 4, _WINDOW)
        self._transport.write(
            frames.frame(SETTINGS, 0, 0, settings) + frames.window_update(0, _WINDOW)
        )

    def data_received(self, data: bytes) -> None:
        """Handle every complete frame and write the responses at once."""
        self._buffer += data
        if not self._preface_received:
            if len(self._buffer) < len(_PREFACE):
                return
            self._preface_received, self._buffer = True, self._buffer[len(_PREFACE) :]
        offset, buffer = 0, self._buffer
        while len(buffer) - offset >= 9:
            size = int.from_bytes(buffer[offset : offset + 3], "big")
            if len(buffer) - offset < 9 + size:
                break
            frame_type, flags = buffer[offset + 3], buffer[offset + 4]
            stream_id = int.from_bytes(buffer[offset + 5 : offset + 9], "big")
            self._handle_frame(frame_type, flags, stream_id, buffer[offset + 9 : offset + 9 + size])
            offset += 9 + size
        self._buffer = buffer[offset:]
        if self._outgoing:
            outgoing, self._outgoing = self._outgoing, []
            self._transport.write(b"".join(outgoing))

    def _handle_frame(self, frame_type: int, flags: int, stream_id: int, payload: bytes) -> None:
        if frame_type == HEADERS:
            self._outgoing.append(frames.frame(HEADERS, END_HEADERS, stream_id, _RESPONSE_HEADERS))
            self._send_output(stream_id, LoaderOutput(status=LoaderOutput.BEGIN))
        elif frame_type == DATA:
            self._unacknowledged += len(payload)
            if self._unacknowledged > _WINDOW // 2:
                self._outgoing.append(frames.window_update(0, self._unacknowledged))
                self._unacknowledged = 0
            self._receive_data(stream_id, payload)
            if flags & END_STREAM and stream_id not in self._slow_streams:
                self._end_stream(stream_id)
        elif frame_type in (SETTINGS, PING) and not flags & ACK:
            self._outgoing.append(
                frames.frame(frame_type, ACK, 0, payload if frame_type == PING else b"")
            )

    def _receive_data(self, stream_id: int, payload: bytes) -> None:
        buffer = self._partial_messages.get(stream_id, b"") + payload
        while len(buffer) >= 5 and len(buffer) >= 5 + (size := int.from_bytes(buffer[1:5], "big")):
            loader_input = LoaderInput.FromString(buffer[5 : 5 + size])
            buffer = buffer[5 + size :]
            if not loader_input.pl:
                continue
            if loader_input.params.get("lang") == SLOW:
                self._slow_streams.add(stream_id)
                asyncio.get_running_loop().call_later(
                    SLOW_S, self._finish_slow_session, stream_id, loader_input
                )
            else:
                self._send_result(stream_id, loader_input)
        self._partial_messages[stream_id] = buffer

    def _finish_slow_session(self, stream_id: int, loader_input: LoaderInput) -> None:
        """Send the only result of a slow session, then end its stream."""
        self._slow_streams.discard(stream_id)
        self._send_result(stream_id, loader_input)
        self._end_stream(stream_id)
        outgoing, self._outgoing = self._outgoing, []
        self._transport.write(b"".join(outgoing))

    def _send_result(self, stream_id: int, loader_input: LoaderInput) -> None:
        meta = MetaDesc(name="said", dataType=loader_input.pl[0].meta.dataType)
        payload = Payload(meta=meta, data=loader_input.pl[0].data)
        self._send_output(stream_id, LoaderOutput(status=LoaderOutput.CONTINUE, pl=[payload]))

    def _end_stream(self, stream_id: int) -> None:
        self._send_output(stream_id, LoaderOutput(status=LoaderOutput.END))
        self._outgoing.append(
            frames.frame(HEADERS, END_HEADERS | END_STREAM, stream_id, _RESPONSE_TRAILERS)
        )
        self._partial_messages.pop(stream_id, None)

    def _send_output(self, stream_id: int, output: LoaderOutput) -> None:
        message = output.SerializeToString()
        self._outgoing.append(
            frames.frame(DATA, 0, stream_id, b"\0" + len(message).to_bytes(4, "big") + message)
        )


async def main(port: int) -> None:
    """Serve on 127.0.0.1:`port` until the process is stopped."""
    server = await asyncio.get_running_loop().create_server(EchoConnection, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
