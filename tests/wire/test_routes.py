"""A service is asked by other paths too, as clients of the original do."""

import json
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from aseloader import declare
from tests.harness import TIMEOUT_S, Gateway, Loader, make_envelope
from tests.sessions import frame
from tests.wire.test_sockets import receive, send
from tests.wrappers.probe import Probe
from tests.wrappers.talker import Talker


def test_other_paths_route_to_a_service(tmp_path: Path) -> None:
    document: dict[str, Any] = json.loads(declare.schema(Probe))
    document["meta"] |= {"route": ["/v1/private/probe", "/v2/say"], "hosts": "api.example"}
    (tmp_path / "schema_probe.json").write_text(json.dumps(document))
    with Gateway("--schemas", str(tmp_path)) as gateway:

        def status(path: str, **headers: str) -> int:
            return gateway.http.post(path, json=make_envelope(), headers=headers).status_code

        # Nobody serves it: 503 says that the service was found, 404 that it was not.
        assert status("/v1.0/private/probe") == 503
        assert status("/whatever?serviceId=probe") == 503
        assert status("/v2/say", host="api.example") == 503
        assert status("/v2/say", **{"x-forwarded-host": "api.example"}) == 503
        assert status("/v2/say") == 404
        assert status("/v2/other", host="api.example") == 404
        assert gateway.http.get("/v1.0/private/probe").status_code == 404
        assert gateway.http.get("/nowhere").json()["header"]["code"] == 10225


def test_request_on_another_path_is_served_and_logged(tmp_path: Path) -> None:
    with Gateway() as gateway, Loader(gateway.lb) as loader:
        gateway.wait_until_up(loader)
        response = gateway.http.post("/v2/other/probe", json=make_envelope())
        assert response.status_code == 200
        headers = response.json()["payload"]["facts"]["text"]["headers"]
        assert headers["route"] == "/v2/other/probe"
        gateway.wait_for_event("request", path="/v2/other/probe", service="probe", status=200)


def test_websocket_on_another_path(tmp_path: Path) -> None:
    document: dict[str, Any] = json.loads(declare.schema(Talker))
    document["meta"] |= {"route": ["/v2/talk"]}
    (tmp_path / "schema_talker.json").write_text(json.dumps(document))
    with Gateway("--schemas", str(tmp_path)) as gateway:
        base_url = gateway.url.replace("http", "ws")
        for path in ("/v2/talk", "/whatever?serviceId=talker", "/v1.0/private/talker"):
            with connect(base_url + path, proxy=None, open_timeout=TIMEOUT_S) as ws:
                send(ws, frame(0, b"a"))
                assert receive(ws)["header"]["code"] == 20002, "found, and nobody serves it"
        for path in ("/v2/other", "/v1/private/other"):
            with pytest.raises(InvalidStatus) as caught:
                connect(base_url + path, proxy=None)
            assert caught.value.response.status_code == 404
