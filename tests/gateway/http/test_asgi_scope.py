"""The scope has what ASGI asks for."""

from gateway.access.peer import Peer
from gateway.http.asgi_scope import asgi_scope


def test_asgi_scope_fields() -> None:
    scope = asgi_scope(
        b"GET",
        "/a b",
        b"q=1",
        version="1.1",
        raw_path=b"/a%20b",
        headers=[(b"host", b"h")],
        client=("1.2.3.4", 5),
        peer=Peer("1.2.3.4"),
        server=("h", 80),
        scheme="https",
        state={},
    )
    assert scope["type"] == "http"
    assert scope["method"] == "GET"
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/a b", b"/a%20b", b"q=1")
    assert scope["headers"] == [(b"host", b"h")]
    assert scope["root_path"] == ""
