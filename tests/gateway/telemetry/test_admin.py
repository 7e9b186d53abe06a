"""The admin application: who may ask, and what it answers."""

import asyncio
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from gateway.telemetry import admin
from gateway.telemetry.admin import AdminAccess
from gateway.telemetry.metrics import Metrics
from lb.endpoints.report import Instance, Load, Report, ServingState
from lb.endpoints.table import EndpointTable


def fetch(
    application: Any, path: str, host: str = "127.0.0.1:8290", **headers: str
) -> httpx.Response:
    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://admin") as client:
            return await client.get(path, headers={"host": host, **headers})

    return asyncio.run(main())


def build(digests: dict[str, str] | None = None) -> Any:
    registry, table = CollectorRegistry(), EndpointTable()
    Metrics(registry)
    instance = Instance("ase", "ocr", "a:1", 7, total=4, digest="d")
    table.apply(Report(instance, Load(1, ServingState.UP, running=2)), 10.0)
    get_digests = None if digests is None else lambda: digests
    return admin.build_app(registry, table, lambda: 11.5, get_digests, lambda: {"role": "hub"})


@pytest.mark.parametrize(
    ("host", "accepted"),
    [
        ("localhost", True), ("LOCALHOST:8290", True), ("127.0.0.1:8290", True), ("10.1.2.3", True),
        ("[::1]:8290", True), ("[::1]", True), ("ops.example", True), ("Ops.Example:80", True),
        ("evil.example", False), ("127.0.0.1.evil.example", False), ("localhost.", False),
        ("", False), ("ops.example:80:80", False),
    ],
)  # fmt: skip
def test_only_known_hosts_are_answered(host: str, accepted: bool) -> None:
    guarded = admin.AdminGuard(build(), AdminAccess("gateway", ("ops.example",), ""))
    assert (fetch(guarded, "/livez", host).status_code == 200) is accepted


def test_rejected_host_is_told_the_option() -> None:
    response = fetch(
        admin.AdminGuard(build(), AdminAccess("gateway", (), "")), "/metrics", "evil.example"
    )
    assert response.status_code == 421
    assert "gateway.admin_hosts" in response.json()["cure"]


def test_token_is_asked_for_but_not_of_a_health_check() -> None:
    guarded = admin.AdminGuard(build(), AdminAccess("lb", (), "s3cret"))
    assert fetch(guarded, "/metrics", authorization="Bearer s3cret").status_code == 200
    assert fetch(guarded, "/metrics", authorization="bearer  s3cret").status_code == 200
    assert fetch(guarded, "/livez").status_code == 200
    for wrong in ({}, {"authorization": "Bearer s3cre"}, {"authorization": "s3cret"},
                  {"authorization": "Basic s3cret"}):  # fmt: skip
        refused = fetch(guarded, "/lb/state", **wrong)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == 'Bearer realm="ase-admin"'
        assert "lb.admin_token" in refused.json()["cure"]
        assert "s3cret" not in refused.text


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://127.0.0.1:8290", 200), ("http://evil.example", 403), ("null", 403)],
)
def test_pages_of_other_origins_are_refused(origin: str, status: int) -> None:
    guarded = admin.AdminGuard(build(), AdminAccess("gateway", (), ""))
    assert fetch(guarded, "/metrics", origin=origin).status_code == status


def test_metrics_are_in_the_text_format() -> None:
    response = fetch(build(), "/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "# TYPE ase_inflight gauge" in response.text


@pytest.mark.parametrize(
    ("digests", "active"), [(None, None), ({"ocr": "d"}, True), ({"ocr": "e"}, False), ({}, False)]
)
def test_state_shows_why_an_instance_gets_requests(
    digests: dict[str, str] | None, active: bool | None
) -> None:
    (row,) = fetch(build(digests), "/lb/state").json()["instances"]
    assert (row["instance"], row["state"], row["reason"]) == ("a:1", "up", "reported")
    assert (row["for_s"], row["report_age_s"]) == (1.5, 1.5)
    assert (row["total"], row["running"]) == (4, 2)
    assert row["schema_active"] is active
