"""Plain requests through a socket, on the fast path and through Starlette."""

import base64
import json
import random
from collections.abc import AsyncIterator, Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import pytest

from aseloader import declare
from config.options import GatewayOptions
from rpc.handler_tasks import CallContext
from schemas.wire import (
    GatewayValue,
    InferRequest,
    LoaderInput,
    LoaderOutput,
    MetaDesc,
    Payload,
    SessionRequest,
)
from tests.inprocess import InProcessGateway
from tests.requests import read_all
from tests.sessions import InProcessWebSocket
from tests.wrappers.forms import Forms
from tests.wrappers.probe import Probe

JPEG = b"\xff\xd8\xff\xe0 a picture \x00\r\n--x\r\n"
JSON = ("Content-Type: application/json",)
BOUNDARY = "xYz"
MULTIPART = (f"Content-Type: multipart/form-data; boundary={BOUNDARY}",)


class Client:
    """Sends requests to a gateway whose loader answers with `outputs`."""

    def __init__(self, gateway: InProcessGateway) -> None:
        self.gateway = gateway
        self.set_outputs(
            ("note", 0, b"noted", {}),
            ("facts", 0, b'{"a":1}', {"format": "json"}),
            ("thumbnail", 2, JPEG, {"encoding": "jpg"}),
        )

    def set_outputs(self, *outputs: tuple[str, int, bytes, dict[str, str]]) -> None:
        payloads = [
            Payload(meta=MetaDesc(name=name, dataType=kind, attribute=attributes), data=data)
            for name, kind, data, attributes in outputs
        ]
        output = LoaderOutput(status=LoaderOutput.ONCE, pl=payloads)
        self.gateway.caller.result = output.SerializeToString()

    def send(
        self, body: bytes, *lines: str, path: str = "/v1/forms", method: str = "POST"
    ) -> tuple[int, dict[str, str], bytes]:
        length = [f"Content-Length: {len(body)}"] if method == "POST" else []
        head = [f"{method} {path} HTTP/1.1", "Host: a", "Connection: close", *lines, *length]
        with self.gateway.connect() as sock:
            sock.sendall("\r\n".join([*head, "", ""]).encode() + body)
            head_bytes, _, content = read_all(sock).partition(b"\r\n\r\n")
        status_line, *header_lines = head_bytes.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in header_lines)
        return int(status_line.split()[1]), headers, content

    def problem(self, body: bytes, *lines: str, path: str = "/v1/forms") -> dict[str, Any]:
        status, headers, content = self.send(body, *lines, path=path)
        assert headers["content-type"] == "application/problem+json", content
        problem: dict[str, Any] = json.loads(content)
        assert (problem["status"], problem["type"]) == (status, "about:blank")
        assert problem["sid"] == headers["x-ase-request-id"]
        return problem

    def rejection(self, *lines: str, path: str) -> tuple[int, str]:
        """Return status and media type of the answer to a head that is invalid by itself."""
        status, headers, content = self.send(b"", *lines, path=path)
        body = json.loads(content)
        assert 10163 in (body.get("code"), body.get("header", {}).get("code"))
        return status, headers["content-type"]

    def last_frame(self) -> LoaderInput:
        return LoaderInput.FromString(self.gateway.caller.frames[-1])


@pytest.fixture(params=[True, False], ids=["fast path", "starlette"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    schemas = (declare.schema(Forms), declare.schema(Probe))
    options = GatewayOptions(once_lane=request.param, max_body=1_000_000)
    with InProcessGateway(schemas=schemas, options=options) as gateway:
        yield Client(gateway)


def multipart(*parts: tuple[str, bytes, str, str]) -> bytes:
    """Return a form of (name, data, file name, media type)."""
    body = b""
    for name, data, file_name, media_type in parts:
        disposition = f'Content-Disposition: form-data; name="{name}"'
        disposition += f'; filename="{file_name}"' if file_name else ""
        head = [disposition, *([f"Content-Type: {media_type}"] if media_type else []), "", ""]
        body += f"--{BOUNDARY}\r\n".encode() + "\r\n".join(head).encode() + data + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def test_json_has_members_without_an_envelope(client: Client) -> None:
    request = {"text": "caf\u00e9 \u20ac", "data": {"deep": [1, None]}, "width": 8, "grey": True}
    status, headers, content = client.send(json.dumps(request).encode(), *JSON)
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert json.loads(content) == {
        "note": "noted",
        "facts": {"a": 1},
        "thumbnail": base64.b64encode(JPEG).decode(),
    }
    frame = client.last_frame()
    assert {p.meta.name: p.data for p in frame.pl} == {
        "text": "caf\u00e9 \u20ac".encode(),
        "data": b'{"deep":[1,null]}',
    }
    assert (frame.params["width"], frame.params["grey"]) == ("8", "true")
    assert (frame.headers["app_id"], frame.headers["status"]) == ("anonymous", "3")


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        (base64.b64encode(JPEG).decode(), ""),
        (f"data:image/jpeg;base64,{base64.b64encode(JPEG).decode()}", "jpg"),
        ({"data": base64.b64encode(JPEG).decode(), "encoding": "png"}, "png"),
    ],
    ids=["base64", "data URL", "with attributes"],
)
def test_binary_in_json(client: Client, value: Any, encoding: str) -> None:
    status, _, _ = client.send(json.dumps({"picture": value}).encode(), *JSON)
    assert status == 200
    (payload,) = client.last_frame().pl
    assert (payload.data, payload.meta.attribute["encoding"]) == (JPEG, encoding)


def test_form_with_a_file(client: Client) -> None:
    body = multipart(
        ("picture", JPEG, "cat.jpg", "image/jpeg"), ("width", b"8", "", ""), ("text", b"hi", "", "")
    )
    status, headers, content = client.send(body, *MULTIPART)
    assert (status, headers["content-type"], content) == (200, "image/jpeg", JPEG)
    frame = client.last_frame()
    assert {p.meta.name: p.data for p in frame.pl} == {"picture": JPEG, "text": b"hi"}
    assert frame.params["width"] == "8"


def test_file_as_the_body(client: Client) -> None:
    status, headers, content = client.send(
        JPEG, "Content-Type: image/png", path="/v1/forms?width=9&grey=true&title=a%20b"
    )
    assert (status, headers["content-type"], content) == (200, "image/jpeg", JPEG)
    frame = client.last_frame()
    assert [(p.meta.attribute["encoding"], p.data) for p in frame.pl] == [("png", JPEG)]
    assert [frame.params[name] for name in ("width", "grey", "title")] == ["9", "true", "a b"]


def test_text_as_the_body(client: Client) -> None:
    status, headers, _ = client.send(b"a text", "Content-Type: text/plain; charset=UTF-8")
    assert (status, headers["content-type"]) == (200, "image/jpeg"), "a file gets a file"
    assert client.last_frame().pl[0].data == b"a text"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", "application/json"),
        ("image/png", "image/jpeg"),
        ("image/*, application/json;q=0.5", "image/jpeg"),
        ("application/json, image/*;q=0.1", "application/json"),
        ("multipart/mixed", "multipart/mixed; boundary=ase-00000000000000000000000000000005-0"),
        ("application/octet-stream", "image/jpeg"),
    ],
)
def test_answer_by_accept(client: Client, accept: str, content_type: str) -> None:
    status, headers, content = client.send(b"{}", *JSON, f"Accept: {accept}")
    assert (status, headers["content-type"]) == (200, content_type)
    if content_type.startswith("multipart"):
        assert content.count(b"--ase-00000000000000000000000000000005") == 4
        assert b'name="facts"\r\nContent-Type: application/json\r\n\r\n{"a":1}\r\n' in content


def test_accepted_media_type_becomes_the_expected_encoding(client: Client) -> None:
    client.send(b"{}", *JSON, "Accept: image/jpeg")
    expected = {meta.name: meta.attribute["encoding"] for meta in client.last_frame().expect}
    assert expected["thumbnail"] == "jpg"
    client.send(b'{"thumbnail": {"encoding": "png"}}', *JSON, "Accept: image/jpeg")
    expected = {meta.name: meta.attribute["encoding"] for meta in client.last_frame().expect}
    assert expected["thumbnail"] == "png", "as the request says"


@pytest.mark.parametrize(
    ("data", "encoding", "value"),
    [
        (b"\xc4\xe3", "gbk", "\u4f60"),
        ("\u6a21".encode("gb2312"), "gb2312", "\u6a21"),
        (b"\xc4\xe3", "utf8", {"data": "xOM=", "encoding": "utf8"}),
        (b"\xc4\xe3", "zip", {"data": "xOM=", "encoding": "zip"}),
    ],
)
def test_text_output_in_another_encoding(
    client: Client, data: bytes, encoding: str, value: Any
) -> None:
    client.set_outputs(("note", 0, data, {"encoding": encoding}))
    _, _, content = client.send(b"{}", *JSON)
    assert json.loads(content) == {"note": value}


def test_file_of_a_loader_is_no_page(client: Client) -> None:
    _, headers, _ = client.send(b"{}", *JSON, "Accept: image/*")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"] == "sandbox"


def test_boundary_occurs_in_no_output(client: Client) -> None:
    forged = b"a\r\n--ase-00000000000000000000000000000005-0\r\n\r\nforged"
    client.set_outputs(("note", 0, forged, {}))
    _, headers, content = client.send(b"{}", *JSON, "Accept: multipart/mixed")
    assert headers["content-type"].endswith("5-1")
    assert content.count(b"--ase-00000000000000000000000000000005-1") == 2


SIMPLE_BODIES = [
    (b"title=x", "Content-Type: application/x-www-form-urlencoded"),
    (b"x", "Content-Type: text/plain"),
    (b"", "X: y"),
]


@pytest.mark.parametrize(("body", "line"), SIMPLE_BODIES, ids=range(3))
def test_form_of_a_foreign_page_is_refused(client: Client, body: bytes, line: str) -> None:
    """A browser sends it without a preflight; JSON needs one."""
    for foreign in ("Origin: http://evil.example", "Sec-Fetch-Site: cross-site"):
        assert client.problem(body, line, foreign)["status"] == 403
    assert client.send(body, line, "Origin: http://a")[0] == 200, "its own page"
    assert client.send(b"{}", *JSON, "Origin: http://evil.example")[0] == 200


def test_paths_of_the_original_stay(client: Client) -> None:
    envelope = json.dumps({"header": {"app_id": "x", "status": 3}, "payload": {}}).encode()
    for path in ("/v1/other?serviceId=forms", "/v1/private?serviceId=forms", "/v1/a/forms"):
        status, _, content = client.send(envelope, *JSON, path=path)
        assert (status, json.loads(content)["header"]["code"]) == (200, 0), path


def test_app_id_of_the_header(client: Client) -> None:
    client.send(b"{}", *JSON, "X-App-Id: shop")
    assert client.last_frame().headers["app_id"] == "shop"


def test_app_id_that_breaks_the_schema_names_its_header(client: Client) -> None:
    for app_id in ("x" * 65, "\u00e9" * 33):  # 66 bytes
        problem = client.problem(b"{}", *JSON, f"X-App-Id: {app_id}")
        assert problem["detail"] == "header x-app-id: breaks maxLength 64"


@pytest.mark.parametrize(
    ("accept", "status"),
    [((), 200), (("Accept: */*",), 200), (("Accept: application/json",), 400)],
    ids=["none", "any", "json"],
)
def test_service_that_only_streams_answers_with_events(
    client: Client, accept: tuple[str, ...], status: int
) -> None:
    output = LoaderOutput(code=10004, err="this service streams")
    client.gateway.caller.result = output.SerializeToString()
    head = ["POST /v1/forms HTTP/1.1", "Host: a", *JSON, *accept, "Content-Length: 2", "", ""]
    with client.gateway.connect() as sock:
        sock.sendall("\r\n".join(head).encode() + b"{}")
        if status == 200:
            (stream,) = client.gateway.caller.streams
            stream.push_result(2)
        response = sock.recv(65536)
    assert response.startswith(f"HTTP/1.1 {status} ".encode())
    assert (b"event: end" in response) is (status == 200)


def test_app_id_may_be_demanded() -> None:
    options = GatewayOptions(anonymous=False)
    with InProcessGateway(schemas=(declare.schema(Forms),), options=options) as gateway:
        client = Client(gateway)
        problem = client.problem(b"{}", *JSON)
        assert (problem["status"], problem["code"]) == (400, 10313)
        assert problem["detail"] == "the header x-app-id is required"
        assert client.send(b"{}", *JSON, "X-App-Id: shop")[0] == 200


WRONG_MEMBERS = [
    ({"txt": "a"}, "/txt", "is not known here; did you mean 'text'?"),
    ({"a/b~c": 1}, "/a~1b~0c", "is not known here; known: data, picture, text, grey, mode, scale"),
    ({"header": {}}, "/header", "is not known here; an envelope goes to /v1/private/forms"),
    ({"text": 5}, "/text", "must be a text"),
    ({"text": "x" * 1001}, "/text", "must decode to at most 1000 bytes"),
    ({"width": "8"}, "/width", "must be of type integer"),
    ({"width": 513}, "/width", "breaks maximum 512"),
    ({"title": "x" * 21}, "/title", "breaks maxLength 20"),
    ({"mode": "slow"}, "/mode", "must be one of fast, fine"),
    ({"picture": "no base64!"}, "/picture", "must be a base64 string: character 3 is none of it"),
    ({"picture": 1}, "/picture", "must be base64 or a data URL"),
    ({"picture": "data:image/png,abc"}, "/picture", "must be a data URL with base64"),
    ({"picture": "data:image/png;base64,&"}, "/picture", "must be a base64 string: character 1"),
    ({"picture": "data:image/webp;base64,AAAA"}, "/picture/encoding", "must be one of png, jpg"),
    ({"picture": {"data": "AAAA", "size": 1}}, "/picture/size", "is not known here"),
    ({"thumbnail": {"encoding": "gif"}}, "/thumbnail/encoding", "must be one of png, jpg"),
    ({"thumbnail": "png"}, "/thumbnail", "must be of type object"),
]


@pytest.mark.parametrize(
    ("members", "pointer", "rule"), WRONG_MEMBERS, ids=range(len(WRONG_MEMBERS))
)
def test_wrong_members(client: Client, members: Any, pointer: str, rule: str) -> None:
    problem = client.problem(json.dumps(members).encode(), *JSON)
    assert (problem["status"], problem["code"]) == (400, 10163)
    ((error),) = problem["errors"]
    assert error["pointer"] == pointer
    assert error["rule"].startswith(rule)
    name = pointer[1:].replace("/", ".").replace("~1", "/").replace("~0", "~")
    assert problem["detail"] == f"{name}: {error['rule']}"


def test_all_wrong_members_are_told(client: Client) -> None:
    problem = client.problem(b'{"width": 0, "scale": 11, "grey": 1}', *JSON)
    assert [error["pointer"] for error in problem["errors"]] == ["/grey", "/scale", "/width"]


OCTETS = "Content-Type: application/octet-stream"
URLENCODED = "Content-Type: application/x-www-form-urlencoded"
WRONG_REQUESTS = [
    (b"[]", JSON, "", 400, "request body must be a json object"),
    (b'{"text":', JSON, "", 400, "request body must be json"),
    (b'{"text":"a"}', JSON, "?text=b", 400, "text: is in the query and in the body"),
    (b"{}", JSON, "?width=1&width=2", 400, "width: is given twice"),
    (b"{}", JSON, "?text=%ff", 400, "the query or form is not UTF-8"),
    (b"{}", JSON, "?nothing=1", 400, "nothing: is not known here"),
    (b"{}", (*JSON, "Accept: text/html"), "", 406, "the Accept header has none of: application/j"),
    (b"{}", (*JSON, "Accept: application/json;q=0"), "", 406, "the Accept header has none of"),
    (b"{}", ("Content-Type: application/json; charset=gbk",), "", 415, "content-type: the charset"),
    (b"<a/>", ("Content-Type: text/html; charset=latin-1",), "", 415, "content-type: the charset"),
    (
        b"text=\xff",
        (URLENCODED,),
        "",
        400,
        "the form is not",
    ),
    (b"text=a&text=b", (URLENCODED,), "", 400, "text: is g"),
    (b"\xff\xfe", ("Content-Type: text/plain",), "", 400, "text: must be UTF-8; byte 0 is not"),
    (b"x", (), "", 415, "content-type must be one of: application/json, multipart/form-data"),
    (b"{}", (*JSON, "Content-Encoding: br"), "", 415, "content-encoding"),
    (b"x", (OCTETS,), "?picture=AAAA", 400, "picture: is given twice"),
    (b"", ("Content-Type: multipart/form-data",), "", 400, "content-type: its boundary"),
    (
        b"",
        (f"Content-Type: multipart/form-data; boundary={'x' * 71}",),
        "",
        400,
        "content-type: it",
    ),
    (b"no form", MULTIPART, "", 400, "the form is malformed"),
    (b"", MULTIPART, "", 400, "the form is truncated: its last boundary is missing"),
    (multipart(("text", b"a", "", ""))[:-6], MULTIPART, "", 400, "the form is truncated"),
    (multipart(("", b"a", "", "")), MULTIPART, "", 400, "a part of the form has no name"),
    (multipart(("text", b"a", "", ""), ("text", b"b", "", "")), MULTIPART, "", 400, "text: is giv"),
    (multipart(("nobody", b"a", "", "")), MULTIPART, "", 400, "nobody: is not known here"),
    (multipart(*[("x", b"", "", "")] * 9_000), MULTIPART, "", 400, "x: is not known here"),
    (multipart(("text", b"\xff", "", "")), MULTIPART, "", 400, "text: must be UTF-8; byte 0 is n"),
    (multipart(("width", b"8.5", "", "")), MULTIPART, "", 400, "width: must be of type integer"),
    (multipart(("data", b"{", "", "")), MULTIPART, "", 400, "data: must be JSON"),
    (
        multipart(("picture", b"", "a.gif", "image/gif")),
        MULTIPART,
        "",
        400,
        "picture.encoding: mu",
    ),
    (multipart(("text", b"a", "", "t\r\n" + "A: b\r\n" * 20)), MULTIPART, "", 400, "the form is m"),
    (multipart(("text", b"a", "", "x" * 5000)), MULTIPART, "", 400, "the form is malformed"),
    (b"title=" + b"x" * 262_139, (URLENCODED,), "", 413, "the form is larger than 262144 bytes"),
    (b"title=a%00b", (URLENCODED,), "", 400, "title: has a NUL"),
    (multipart(("title", b"a\0b", "", "")), MULTIPART, "", 400, "title: has a NUL"),
    (b'thumbnail={"a":"\\ud800"}', (URLENCODED,), "", 400, "thumbnail: must be JSON"),
    (b'thumbnail={"a":"\\u0000"}', (URLENCODED,), "", 400, "thumbnail: must be JSON: NUL"),
    (b"thumbnail=1,2", (URLENCODED,), "", 400, "thumbnail: must be JSON"),
    (b'thumbnail=1,"x":2', (URLENCODED,), "", 400, "thumbnail: must be JSON: it has more than"),
    (b"data=" + b"[" * 900, (URLENCODED,), "", 400, "data: must be JSON"),
    (multipart(("data", b"[" + b"[]," * 100_000 + b"0]", "", "")), MULTIPART, "", 400, "data: mu"),
    (multipart(("width", b"1" * 500_000, "", "")), MULTIPART, "", 400, "width: must be of type"),
    (b'{"picture":"data:' + b";" * 999_000 + b'"}', JSON, "", 400, "picture: must be a data URL"),
]


@pytest.mark.parametrize(
    ("body", "lines", "query", "status", "detail"), WRONG_REQUESTS, ids=range(len(WRONG_REQUESTS))
)
def test_wrong_requests(
    client: Client, body: bytes, lines: tuple[str, ...], query: str, status: int, detail: str
) -> None:
    problem = client.problem(body, *lines, path=f"/v1/forms{query}")
    assert problem["status"] == status
    assert problem["detail"].startswith(detail)
    assert not client.gateway.caller.frames, "no loader was called"


def test_methods_and_paths(client: Client) -> None:
    problem = json.loads(client.send(b"", method="GET")[2])
    assert (problem["status"], problem["code"]) == (405, 10163)
    assert client.problem(b"{}", *JSON, path="/v1/nobody")["code"] == 10225
    status, headers, _ = client.send(b"{}", *JSON, path="/v1/apis")
    assert (status, headers["allow"], headers["content-type"]) == (405, "GET", "application/json")


def test_body_over_the_limit_is_refused(client: Client) -> None:
    with client.gateway.connect() as sock:
        head = b"POST /v1/forms HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\n"
        sock.sendall(head + b"Content-Length: 1000001\r\n\r\n")
        response = read_all(sock)
    assert f"413 {HTTPStatus(413).phrase}\r\n".encode() in response  # Python 3.13 renamed it
    problem = json.loads(response.partition(b"\r\n\r\n")[2])
    assert problem["detail"] == "body is larger than 1000000 bytes"


def logical_request(rng: random.Random) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return parameters and inputs that every form can carry."""
    params: dict[str, Any] = {}
    if rng.random() < 0.7:
        params["width"] = rng.randint(1, 512)
    if rng.random() < 0.5:
        params["scale"] = rng.choice([0, 1.5, 2.25, 10])
    if rng.random() < 0.5:
        params["grey"] = rng.random() < 0.5
    if rng.random() < 0.5:
        params["title"] = "".join(rng.choices('aé€😀 "\\&=+%\n/', k=rng.randint(0, 5)))
    text = "".join(rng.choices('aé€😀 "\\&=+%\n/', k=rng.randint(1, 60)))
    return params, {"picture": rng.randbytes(rng.randint(1, 300)), "text": text.encode()}


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def grpc_members(members: dict[str, Any]) -> dict[str, GatewayValue]:
    """Return members as gRPC clients send them; bytes are a picture."""
    kinds = {str: "text", bool: "boolean", int: "integer", float: "number", bytes: "data"}
    values = {name: GatewayValue(**{kinds[type(value)]: value}) for name, value in members.items()}
    values["picture"].media_type = "image/png"
    return values


def call_by_grpc(client: Client, members: dict[str, Any]) -> None:
    request = InferRequest(service="forms", members=grpc_members(members)).SerializeToString()
    call = CallContext({}, "ipv4:192.0.2.1:50000", None)
    client.gateway.loop.run_until_complete(client.gateway.grpc_service.infer(request, call))


def call_session_by_grpc(client: Client, members: dict[str, Any]) -> None:
    """Send one message and end the session."""

    async def messages() -> AsyncIterator[bytes]:
        message = SessionRequest(service="forms", members=grpc_members(members))
        yield message.SerializeToString()

    async def session() -> None:
        call = CallContext({}, "ipv4:192.0.2.1:50000", None)
        async for _ in client.gateway.grpc_service.session(messages(), call):
            raise AssertionError("the loader gives no result")

    task = client.gateway.loop.create_task(session())
    client.gateway.loop.settle()
    task.cancel()
    client.gateway.loop.settle()


def session_frames(client: Client, members: dict[str, Any], picture: bytes) -> list[LoaderInput]:
    """Return the frames of a request for events, of one by WebSocket and of one by gRPC."""
    client.gateway.caller.streams.clear()
    call_session_by_grpc(client, members | {"picture": picture})
    body = json.dumps(members).encode()
    lines = [*JSON, "Accept: text/event-stream", f"Content-Length: {len(body)}"]
    head = "\r\n".join(["POST /v1/forms HTTP/1.1", "Host: a", *lines, "", ""])
    with client.gateway.connect() as sock:
        sock.sendall(head.encode() + body)
    with InProcessWebSocket(client.gateway, service="forms", prefix="/v1/") as ws:
        ws.send(members)
    frames = [
        LoaderInput.FromString(stream.sent_frames[0]) for stream in client.gateway.caller.streams
    ]
    assert len(frames) == 3
    for frame in frames:
        frame.pl.sort(key=lambda payload: payload.meta.name)
    return frames


@pytest.mark.unmeasured
def test_two_hundred_requests_give_the_same_frames_in_every_form(client: Client) -> None:
    """The source of truth is the envelope."""
    for seed in range(200):
        params, inputs = logical_request(random.Random(seed))
        encoded = {name: base64.b64encode(data).decode() for name, data in inputs.items()}
        envelope = {
            "header": {"app_id": "anonymous", "status": 3},
            "payload": {
                "picture": {"encoding": "png", "status": 3, "image": encoded["picture"]},
                "text": {"status": 3, "text": encoded["text"]},
            },
            **({"parameter": {"forms": params}} if params else {}),
        }
        data_url = f"data:image/png;base64,{encoded['picture']}"
        members = {"picture": data_url, "text": inputs["text"].decode(), **params}
        fields = urlencode({name: as_text(value) for name, value in members.items()})
        query = urlencode(
            {name: as_text(v) for name, v in {**params, "text": members["text"]}.items()}
        )
        parts = multipart(
            ("picture", inputs["picture"], "a.png", "image/png"),
            ("text", inputs["text"], "", ""),
            *[(name, as_text(value).encode(), "", "") for name, value in params.items()],
        )
        form = "Content-Type: application/x-www-form-urlencoded"
        client.gateway.caller.frames.clear()
        client.send(json.dumps(envelope).encode(), *JSON, path="/v1/private/forms")
        client.send(json.dumps(members).encode(), *JSON)
        client.send(fields.encode(), form)
        client.send(parts, *MULTIPART)
        client.send(inputs["picture"], "Content-Type: image/png", path=f"/v1/forms?{query}")
        call_by_grpc(client, members | {"picture": inputs["picture"]})
        frames = [LoaderInput.FromString(frame) for frame in client.gateway.caller.frames]
        assert len(frames) == 6
        for frame in frames:
            frame.headers["route"] = ""
            frame.pl.sort(key=lambda payload: payload.meta.name)
        assert all(frame == frames[0] for frame in frames[1:]), (seed, frames)
        for frame in session_frames(client, members, inputs["picture"]):
            assert dict(frame.params) == dict(frames[0].params)
            assert [*frame.pl] == [*frames[0].pl], seed


PROBLEM, ENVELOPE = "application/problem+json", "application/json"


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/v1/forms", PROBLEM),
        ("/v1/forms?title=a", PROBLEM),
        ("/v1/unknown", PROBLEM),
        ("/v1/private/forms", ENVELOPE),
        ("/v1/apis", ENVELOPE),
        ("/v1/apis/forms", ENVELOPE),
        ("/", ENVELOPE),
    ],
)
def test_head_that_is_invalid_is_answered_in_the_form_of_its_path(
    client: Client, path: str, media_type: str
) -> None:
    for line, status in (("a_b: c", 400), ("Content-Type: a/b\r\nContent-Type: a/b", 400),
                         ("Expect: more", 417), ("a: " + "b" * 70_000, 431)):  # fmt: skip
        assert client.rejection(line, path=path) == (status, media_type), line


def test_target_that_is_too_long_is_answered_in_the_form_of_its_path(client: Client) -> None:
    for path, media_type in (("/v1/forms", PROBLEM), ("/v1/private/forms", ENVELOPE)):
        answer = client.rejection(path=f"{path}?title={'a' * 10_000}")
        assert answer == (414, media_type)


def test_handshake_that_is_refused_is_answered_in_the_form_of_its_path(client: Client) -> None:
    lines = (
        "Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: short",
    )  # fmt: skip
    for path, media_type in (("/v1/forms", PROBLEM), ("/v1/private/forms", ENVELOPE)):
        status, headers, content = client.send(b"", *lines, path=path, method="GET")
        assert (status, headers["content-type"]) == (400, media_type), content
