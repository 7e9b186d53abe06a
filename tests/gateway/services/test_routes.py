"""Which service a path asks for: the query, the last segment, a route at its host, a route."""

import pytest

from gateway.services.routes import Routes
from schemas.model.service import Service


def service(name: str, *routes: str, hosts: tuple[str, ...] = ()) -> Service:
    return Service(name, "v1", "ase", (), {}, {}, routes=routes, hosts=hosts)


ROUTES = Routes(
    [
        service("ocr", "/v2/read", "/v2/both"),
        service("asr", "/v2/hear", "/v2/both", hosts=("a.example", "b.example")),
        service("nlp"),
    ]
)


@pytest.mark.parametrize(
    ("path", "query", "host", "told"),
    [
        ("/v1/private/ocr", b"", b"x", "ocr"),
        ("/any/prefix/at/all/nlp", b"", b"x", "nlp"),
        ("/ocr", b"serviceId=asr", b"x", "asr"),
        ("/ocr", b"serviceId=nobody", b"x", "ocr"),
        ("/v2/read", b"", b"x", "ocr"),
        ("/v2/hear", b"", b"a.example", "asr"),
        ("/v2/hear", b"", b"B.example:8200", "asr"),
        ("/v2/hear", b"", b"c.example", ""),
        ("/v2/both", b"", b"a.example", "asr"),
        ("/v2/both", b"", b"[::1]:8200", "ocr"),
        ("/v2/both", b"", b"", "ocr"),
        ("/v2/none", b"", b"a.example", ""),
        ("/", b"a=b", b"a.example", ""),
    ],
)
def test_a_path(path: str, query: bytes, host: bytes, told: str) -> None:
    assert ROUTES.find(path, query, {b"host": host}) == told


def test_the_proxy_tells_the_host() -> None:
    headers = {b"host": b"gateway:8200", b"x-forwarded-host": b"a.example, other"}
    assert ROUTES.find("/v2/hear", b"", headers) == "asr"
