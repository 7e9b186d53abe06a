"""Admin ports that ask for a token: of a gateway, of one with workers, of a hub."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.harness import Gateway, Hub, Loader, run_asectl

TOKEN = "s3cret-of-admins"  # noqa: S105 (of a test)


@pytest.fixture(scope="module", params=["1", "2"], ids=["one", "workers"])
def admins(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Yield the URLs of the admin ports of a gateway and of its hub, which know a loader."""
    environ = {"ASE_GATEWAY_ADMIN_TOKEN": TOKEN, "ASE_LB_ADMIN_TOKEN": TOKEN}
    with (
        Hub(env=environ) as hub,
        Gateway("--lb-hub", hub.lb, "--workers", request.param, env=environ) as gateway,
        Loader(hub.lb) as loader,
    ):
        gateway.wait_until_up(loader)
        yield gateway.admin, hub.admin


@pytest.mark.parametrize("path", ["/metrics", "/lb/state"])
def test_token_opens_the_admin_port(admins: tuple[str, str], path: str) -> None:
    for url in admins:
        assert httpx.get(url + path, trust_env=False).status_code == 401
        headers = {"authorization": f"Bearer {TOKEN}"}
        response = httpx.get(url + path, headers=headers, trust_env=False)
        assert response.status_code == 200
        assert "probe" in response.text
        assert httpx.get(f"{url}/livez", trust_env=False).status_code == 200


def test_commands_send_the_token(admins: tuple[str, str], tmp_path: Path) -> None:
    file = tmp_path / "token.txt"
    file.write_text(f"{TOKEN}\n")
    for url in admins:
        command = ("lb", "state", "--json", "--url", url)
        refused = run_asectl(*command)
        assert refused.returncode == 4
        assert "HTTP 401" in refused.stderr
        assert "--token-file" in refused.stderr
        for flags, environ in (
            (("--token-file", str(file)), None),
            ((), {**os.environ, "ASE_ADMIN_TOKEN": TOKEN}),
        ):
            result = run_asectl(*command, *flags, environ=environ)
            assert [line["service"] for line in json.loads(result.stdout)] == ["probe"]
