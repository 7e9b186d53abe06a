"""WebSockets without envelopes, by path and by subprotocol."""

import base64
import json
from typing import Any

import pytest

from aseloader import Input, Integer, Output, Wrapper, declare
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload
from tests.inprocess import InProcessGateway
from tests.sessions import InProcessWebSocket

PLAIN = "ase.json.v1"


class Listener(Wrapper):
    """Listens to sound."""

    service = "listener"
    threshold = Integer(0, 9, default=3)
    audio = Input("audio")
    segment = Output("text", format="json")

    def session(self, params: Any, inputs: Any) -> Any:
        yield from ()


def frames(gateway: InProcessGateway) -> list[LoaderInput]:
    (stream,) = gateway.caller.streams
    return [LoaderInput.FromString(frame) for frame in stream.sent_frames]


def listener() -> InProcessGateway:
    return InProcessGateway(schemas=(declare.schema(Listener),))


@pytest.mark.parametrize(
    ("prefix", "subprotocol"), [("/v1/", ""), ("/v1/", PLAIN), ("/v1/private/", PLAIN)]
)
def test_members_go_in_and_out(prefix: str, subprotocol: str) -> None:
    with (
        listener() as gateway,
        InProcessWebSocket(
            gateway, service="listener", subprotocol=subprotocol, prefix=prefix
        ) as ws,
    ):
        assert ws.subprotocol == (subprotocol or None)
        sound = base64.b64encode(b"one").decode()
        ws.send({"audio": sound, "threshold": 5}, b"two", {})
        first, second, last = frames(gateway)
        assert [frame.headers["status"] for frame in (first, second, last)] == ["0", "1", "2"]
        assert [frame.pl[0].data for frame in (first, second, last)] == [b"one", b"two", b""]
        assert [frame.params["threshold"] for frame in (first, second)] == ["5", "5"]
        assert first.headers["app_id"] == "anonymous"
        (stream,) = gateway.caller.streams
        meta = MetaDesc(name="segment", attribute={"format": "json"})
        output = LoaderOutput(status=1, pl=[Payload(meta=meta, data=b'{"at":1}')])
        stream.push_frame(output.SerializeToString())
        assert json.loads(ws.receive_message()) == {"segment": {"at": 1}}
        stream.push_result(2)
        assert ws.receive_close_code() == 1000


@pytest.mark.parametrize(
    ("message", "detail", "pointer"),
    [
        ({"threshold": 10}, "threshold: breaks maximum 9", "/threshold"),
        ({"sound": "x"}, "sound: is not known here", "/sound"),
        ({"audio": 5}, "audio: must be base64 or a data URL", "/audio"),
        ({"audio": {"data": "AAAA", "no": 1}}, "audio.no: is not known here", "/audio/no"),
        ("[]", "request body must be a json object", None),
    ],
    ids=range(5),
)
@pytest.mark.parametrize("is_later", [False, True], ids=["first", "later"])
def test_wrong_message_is_a_problem(
    message: Any, detail: str, pointer: str | None, *, is_later: bool
) -> None:
    with listener() as gateway, InProcessWebSocket(gateway, "", "listener", "", "/v1/") as ws:
        if is_later:
            ws.send(b"one")
        ws.send(message)
        problem = json.loads(ws.receive_message())["error"]
        assert problem["detail"].startswith(detail)
        assert (problem["status"], problem["code"]) == (400, 10163)
        assert problem.get("errors", [{"pointer": None}])[0]["pointer"] == pointer
        assert ws.receive_close_code() == 1008


def test_binary_message_needs_an_input_for_it(gateway: InProcessGateway) -> None:
    with InProcessWebSocket(gateway, "", "talker", "", "/v1/") as ws:
        ws.send(b"bytes")
        detail = json.loads(ws.receive_message())["error"]["detail"]
        assert detail == "a binary message needs one input that is binary"


def test_service_of_one_request_answers_its_first_message(gateway: InProcessGateway) -> None:
    with InProcessWebSocket(gateway, "", "probe", "", "/v1/") as ws:
        ws.send({"text": "hello"})
        (frame,) = frames(gateway)
        assert (frame.headers["status"], frame.pl[0].data) == ("3", b"hello")
