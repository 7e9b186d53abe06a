"""Sessions by WebSocket: their frames, and a client in the same process."""

import base64
import contextlib
import json
import struct
from typing import Any, Self

from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from tests.inprocess import ClientSocket, InProcessGateway
from tests.requests import Receiver

TALKER = "tests/wrappers/talker.py:Talker"
_KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


def frame(
    status: int | None = None, text: bytes | None = None, **header_fields: Any
) -> dict[str, Any]:
    """Return a frame; `act` and `many` are parameters, `cid` and the like of its header."""
    header: dict[str, Any] = {"status": status} if status is not None else {}
    if status in (0, 3):
        header["app_id"] = "tests"
    params = {name: header_fields.pop(name) for name in ("act", "many") if name in header_fields}
    envelope: dict[str, Any] = {"header": header | header_fields}
    if params:
        envelope["parameter"] = {"talker": params}
    if text is not None:
        envelope["payload"] = {"text": {"text": base64.b64encode(text).decode()}}
    return envelope


def output_bytes(envelope: dict[str, Any]) -> bytes:
    """Return the data of the talker's output."""
    return base64.b64decode(envelope["payload"]["said"]["text"])


def handshake_request(host: str, query: str = "", extra: str = "") -> bytes:
    """Return the request for a WebSocket to the talker; `extra` are more header lines."""
    head = f"GET /v1/private/talker{query} HTTP/1.1\r\nHost: {host}\r\n"
    head += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    return f"{head}Sec-WebSocket-Key: {_KEY}\r\n{extra}\r\n".encode()


def masked_frame(opcode: int, data: bytes, *, fin: bool = True) -> bytes:
    """Return a WebSocket frame of a client; its mask is zero."""
    size = len(data)
    if size < 126:
        head = struct.pack(">BB", opcode | fin << 7, size | 128)
    else:
        head = struct.pack(">BBH", opcode | fin << 7, 126 | 128, size)
    return head + b"\0\0\0\0" + data


def read_close_code(sock: Receiver) -> int | None:
    """Return the code of the close frame that comes; None if the connection ends without."""
    received = b""
    with contextlib.suppress(OSError):
        while data := sock.recv(65536):
            received += data
    offset = 0
    while offset + 2 <= len(received):
        size, opcode, offset = received[offset + 1], received[offset] & 15, offset + 2
        if size == 126:
            size, offset = int.from_bytes(received[offset : offset + 2], "big"), offset + 2
        if opcode == 8:
            return int.from_bytes(received[offset : offset + 2], "big")
        offset += size
    return None


class InProcessWebSocket:
    """A WebSocket client of an in-process gateway: pings are answered, as a browser does."""

    def __init__(
        self,
        gateway: InProcessGateway,
        query: str = "",
        service: str = "talker",
        subprotocol: str = "",
        prefix: str = "/v1/private/",
    ) -> None:
        self.sock: ClientSocket = gateway.connect()
        subprotocols = [Subprotocol(subprotocol)] if subprotocol else None
        uri = parse_uri(f"ws://gateway{prefix}{service}{query}")
        self._protocol = ClientProtocol(uri, subprotocols=subprotocols, max_size=None)
        self._protocol.send_request(self._protocol.connect())
        self._messages: list[bytes] = []
        self._flush()
        self._read()
        if self._protocol.handshake_exc is not None:
            raise self._protocol.handshake_exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    @property
    def subprotocol(self) -> str | None:
        """Return the subprotocol that the gateway chose."""
        return self._protocol.subprotocol

    def send(self, *messages: Any) -> None:
        """Send messages: bytes as binary ones, texts as they are, anything else as JSON."""
        for message in messages:
            if isinstance(message, bytes):
                self._protocol.send_binary(message)
            else:
                text = message if isinstance(message, str) else json.dumps(message)
                self._protocol.send_text(text.encode())
        self._flush()

    def receive_message(self) -> bytes:
        """Return the next message. Raises ConnectionClosed at the end."""
        while not self._messages:
            if not self._read():
                raise self._protocol.close_exc
        return self._messages.pop(0)

    def receive(self) -> dict[str, Any]:
        """Return the next envelope."""
        envelope: dict[str, Any] = json.loads(self.receive_message())
        return envelope

    def receive_all(self) -> list[dict[str, Any]]:
        """Return the envelopes until the connection ends."""
        envelopes = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                envelopes.append(self.receive())
        return envelopes

    def receive_close_code(self) -> int | None:
        """Return the close code, after all that still comes."""
        self.receive_all()
        received = self._protocol.close_rcvd
        return None if received is None else received.code

    def close(self, code: int = 1000) -> None:
        """Send a close frame."""
        self._protocol.send_close(code)
        self._flush()

    def _read(self) -> bool:
        data = self.sock.recv(1 << 20)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode in (Opcode.TEXT, Opcode.BINARY):
                self._messages.append(bytes(event.data))
        self._flush()
        return bool(data)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                with contextlib.suppress(ConnectionResetError):
                    self.sock.sendall(data)
