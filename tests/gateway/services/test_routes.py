"""Which service a path asks for: the query, the last segment, a route at its host, a route."""

import pytest

from gateway.services.routes import Routes
from schemas.model.service import Service


def new_service(name: str, *routes: str, hosts: tuple[str, ...] = ()) -> Service:
    return Service(name, "v1", "ase", (), {}, {}, routes=routes, hosts=hosts)


ROUTES = Routes(
    [
        new_service("ocr", "/v2/read", "/v2/both"),
        new_service("asr", "/v2/hear", "/v2/both", hosts=("a.example", "b.example")),
        new_service("nlp"),
    ]
)


@pytest.mark.parametrize(
    ("path", "query", "host", "expected"),
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
def test_find_service_of_a_path(path: str, query: bytes, host: bytes, expected: str) -> None:
    assert ROUTES.find(path, query, {b"host": host}) == expected


def test_forwarded_host_overrides_host() -> None:
    headers = {b"host": b"gateway:8200", b"x-forwarded-host": b"a.example, other"}
    assert ROUTES.find("/v2/hear", b"", headers) == "asr"
