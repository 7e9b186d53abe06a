"""The loader of the stream bench: a native `Session` that says each frame back, and little else.

HTTP/2 is read and written by hand, as far as one client of ours needs it: a server on grpc.aio
takes three times the processor time of the gateway that is measured. Usage: -m bench.echo_loader
PORT
"""

import asyncio
import struct
import sys
from typing import cast

import uvloop

from rpc import frames
from rpc.frames import ACK, DATA, END_HEADERS, END_STREAM, HEADERS, PING, SETTINGS
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload

# A session in this language takes so long to its first result, as a model does.
SLOW, SLOW_S = "slow", 0.02
_WINDOW = 1 << 30
_HEAD = bytes([0x88]) + b"\x0f\x10\x10application/grpc"  # :status 200, content-type
_TRAIL = b"\x00\x0bgrpc-status\x010"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Echo(asyncio.Protocol):
    """One connection of a gateway."""

    def __init__(self) -> None:
        self._data = b""
        self._greeted = False
        self._out: list[bytes] = []
        self._owed = 0
        self._messages: dict[int, bytes] = {}
        self._slow: set[int] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say how much may come: all."""
        self._transport = cast("asyncio.Transport", transport)
        settings = struct.pack(">HIHI", 3, 1_000_000, 4, _WINDOW)
        self._transport.write(
            frames.frame(SETTINGS, 0, 0, settings) + frames.window_update(0, _WINDOW)
        )

    def data_received(self, data: bytes) -> None:
        """Answer every frame that is whole."""
        self._data += data
        if not self._greeted:
            if len(self._data) < len(_PREFACE):
                return
            self._greeted, self._data = True, self._data[len(_PREFACE) :]
        at, told = 0, self._data
        while len(told) - at >= 9:
            size = int.from_bytes(told[at : at + 3], "big")
            if len(told) - at < 9 + size:
                break
            kind, flags = told[at + 3], told[at + 4]
            number = int.from_bytes(told[at + 5 : at + 9], "big")
            self._frame(kind, flags, number, told[at + 9 : at + 9 + size])
            at += 9 + size
        self._data = told[at:]
        if self._out:
            out, self._out = self._out, []
            self._transport.write(b"".join(out))

    def _frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == HEADERS:
            self._out.append(frames.frame(HEADERS, END_HEADERS, number, _HEAD))
            self._say(number, LoaderOutput(status=LoaderOutput.BEGIN))
        elif kind == DATA:
            self._owed += len(payload)
            if self._owed > _WINDOW // 2:
                self._out.append(frames.window_update(0, self._owed))
                self._owed = 0
            self._take(number, payload)
            if flags & END_STREAM and number not in self._slow:
                self._end(number)
        elif kind in (SETTINGS, PING) and not flags & ACK:
            self._out.append(frames.frame(kind, ACK, 0, payload if kind == PING else b""))

    def _take(self, number: int, payload: bytes) -> None:
        data = self._messages.get(number, b"") + payload
        while len(data) >= 5 and len(data) >= 5 + (size := int.from_bytes(data[1:5], "big")):
            told = LoaderInput.FromString(data[5 : 5 + size])
            data = data[5 + size :]
            if not told.pl:
                continue
            if told.params.get("lang") == SLOW:
                self._slow.add(number)
                asyncio.get_running_loop().call_later(SLOW_S, self._later, number, told)
            else:
                self._answer(number, told)
        self._messages[number] = data

    def _later(self, number: int, told: LoaderInput) -> None:
        """Give the one answer of a session that takes its time, and its end."""
        self._slow.discard(number)
        self._answer(number, told)
        self._end(number)
        out, self._out = self._out, []
        self._transport.write(b"".join(out))

    def _answer(self, number: int, told: LoaderInput) -> None:
        meta = MetaDesc(name="said", dataType=told.pl[0].meta.dataType)
        said = Payload(meta=meta, data=told.pl[0].data)
        self._say(number, LoaderOutput(status=LoaderOutput.CONTINUE, pl=[said]))

    def _end(self, number: int) -> None:
        self._say(number, LoaderOutput(status=LoaderOutput.END))
        self._out.append(frames.frame(HEADERS, END_HEADERS | END_STREAM, number, _TRAIL))
        self._messages.pop(number, None)

    def _say(self, number: int, output: LoaderOutput) -> None:
        message = output.SerializeToString()
        self._out.append(
            frames.frame(DATA, 0, number, b"\0" + len(message).to_bytes(4, "big") + message)
        )


async def main(port: int) -> None:
    """Serve, for ever."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
