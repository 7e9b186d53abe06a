"""Secrets are in no log line, metric, error, printed option or argument of a process."""

import json
import os
from pathlib import Path

import httpx
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.harness import TIMEOUT_S, Gateway, Loader, make_envelope, run_asectl
from tests.requests import signed_query

TOKEN = "CANARY-lb-token"  # noqa: S105 (of a test)
ADMIN_TOKEN = "CANARY-admin-token"  # noqa: S105 (of a test)
BEARERS = ("CANARY-bearer", "ase_CANARY", "eyJhbGciOiJIUzI1NiJ9.CANARY.CANARY")


def arguments_of_processes() -> str:
    """Return the arguments of all processes, as any user of the machine reads them."""
    texts = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and folder.name != str(os.getpid()):
            try:
                texts.append((folder / "cmdline").read_bytes().decode("utf-8", "replace"))
            except OSError:
                continue  # it has ended
    return "\n".join(texts)


def test_secrets_are_nowhere(tmp_path: Path) -> None:
    config = tmp_path / "ase.yaml"
    config.write_text("auth: [key, hmac]\nlog_level: debug\nusage: {store: usage.sqlite}\n")
    flags = ("-c", str(config))
    key = run_asectl("key", "create", "--app", "tests", *flags).stdout.strip()
    pair = run_asectl("key", "create", "--app", "tests", "--hmac", *flags).stdout.split()
    key_id, secret = (line.partition("=")[2] for line in pair)
    environ = {"ASE_LB_TOKEN": TOKEN, "ASE_GATEWAY_ADMIN_TOKEN": ADMIN_TOKEN}
    answers: list[str] = []
    with (
        Gateway(*flags, env=environ) as gateway,
        Loader(gateway.lb, env={"ASE_LB_TOKEN": TOKEN}) as loader,
    ):
        gateway.wait_until_up(loader)
        path = "/v1/private/probe"
        query = signed_query(gateway.url + path, "GET", key_id, secret)
        url = gateway.url.replace("http", "ws", 1) + path
        for bearer in (key, key[:-1], *BEARERS):
            for name, value in (("authorization", f"Bearer {bearer}"), ("x-api-key", bearer)):
                response = gateway.post(make_envelope(), headers={name: value})
                plain = gateway.http.post("/v1/probe", json={"text": "x"}, headers={name: value})
                answers += [response.text, plain.text, str(response.headers), str(plain.headers)]
        for text in (f"?{query}", f"?{query}x", "?authorization=CANARY&host=CANARY&date=CANARY"):
            try:
                with connect(url + text, proxy=None, open_timeout=TIMEOUT_S):
                    pass
            except InvalidStatus as error:
                answers.append(str(error.response.headers) + str(error.response.body))
        answers.append(gateway.post({"header": {"CANARY": 1}}, headers={"apikey": key}).text)
        admin = [
            httpx.get(gateway.admin + page, headers=headers, trust_env=False).text
            for headers in ({}, {"authorization": f"Bearer {ADMIN_TOKEN}"})
            for page in ("/metrics", "/lb/state", "/contracts")
        ]
        processes = arguments_of_processes()
        gateway.stop()
        loader.stop()
        logs = [json.dumps(line) for line in (*gateway.lines, *loader.lines)]
        texts = [*gateway.text, *gateway.output, *loader.text, *loader.output]
    printed = run_asectl("config", "show", "--effective", *flags, environ={**os.environ, **environ})
    listed = run_asectl("key", "list", *flags)
    places = {
        "answers": answers,
        "admin": admin,
        "processes": [processes],
        "logs": logs + texts,
        "config": [printed.stdout, printed.stderr],
        "list": [listed.stdout, listed.stderr],
        "usage": [(tmp_path / "usage.sqlite").read_bytes().decode("latin-1")],
    }
    signature_text = query.partition("&")[0].partition("=")[2]
    secrets = (key, secret, signature_text[:60], TOKEN, ADMIN_TOKEN)
    for place, found_texts in places.items():
        for text in found_texts:
            for name in (*secrets, "CANARY-bearer", "ase_CANARY"):
                assert name not in text, f"{place} has {name[:10]}...: {text[:300]}"
    assert any("10105" in text for text in answers)
    assert len(logs) > 20
