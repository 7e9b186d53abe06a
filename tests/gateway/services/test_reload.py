"""Reload of config and schemas: what is detected, what takes effect, what changes nothing.

The reloader runs on a virtual loop: the time between its checks does not pass in reality.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from config.options import Config, GatewayOptions, LbOptions, ServiceOptions
from config.source import ConfigError, Diagnostic
from gateway.services.catalog import (
    Catalog,
    Contract,
    ContractChange,
    SchemaUse,
    build_contract,
)
from gateway.services.reload import POLL_INTERVAL_S, ConfigReloader, ConfigSource
from gateway.services.reload_requests import ReloadRequests
from schemas.model import document
from schemas.model.service import DataType
from schemas.sources import declare
from schemas.sources.declare import Declaration, PayloadStream
from tests.inprocess import VirtualLoop


class InlineExecutor(ThreadPoolExecutor):
    """Runs each call at once, in the thread of the caller."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 (the caller gets it)
            future.set_exception(error)
        return future


def schema_text(service: str, version: str = "v1") -> bytes:
    declaration = Declaration(service, version, outputs=(PayloadStream("out", DataType.TEXT),))
    return document.canonical(declare.declaration_to_document(declaration))


def schema_digest(service: str, version: str = "v1") -> str:
    return document.digest(schema_text(service, version))


DEADLINE = GatewayOptions().deadline
# Contracts do not change; all tests share them.
CONTRACTS = [build_contract(schema_text(name), "file", {}, DEADLINE) for name in ("ocr", "tts")]


class FakeCertificate:
    """A certificate whose files have changed, or do not fit, if the test says so.

    `on_check` is called at the next check.
    """

    def __init__(self) -> None:
        self.has_changed = False
        self.error: OSError | None = None
        self.on_check: Callable[[], None] | None = None

    def reload(self, *, force: bool) -> bool:
        if self.on_check is not None:
            on_check, self.on_check = self.on_check, None
            on_check()
        has_changed, self.has_changed = self.has_changed or force, False
        if has_changed and self.error is not None:
            raise self.error
        return has_changed


class RunningReloader:
    """A reloader with two services, "ocr" and "tts", in the folder `schemas`.

    `config` is what it reads next; `error` is raised instead, if it is set. `read_count` counts
    the reads. `changes` are the changes of contracts of the reloads that were returned last.
    """

    def __init__(
        self,
        folder: Path,
        *,
        has_config_file: bool = True,
        certificate: FakeCertificate | None = None,
    ) -> None:
        self.folder, self.schemas = folder, folder / "schemas"
        self.config_file = folder / "ase.yaml"
        self.config_file.write_text("schemas: schemas\n")
        self.schemas.mkdir()
        for contract in CONTRACTS:
            self.write_schema(contract.service.id)
        self.config = Config(schemas="schemas")
        self.error: Exception | None = None
        self.read_count = 0
        self._outcomes: list[str] = []
        self.limited: list[Config] = []
        self.changes: list[ContractChange] = []
        self.catalog = Catalog(CONTRACTS, {}, DEADLINE)
        self.requests = ReloadRequests()
        self.reloader = ConfigReloader(
            ConfigSource(
                self._read_config,
                self.config_file if has_config_file else None,
                self.requests,
            ),
            self.config,
            folder,
            self.catalog,
            certificate,
            self.limited.append,
            self._on_reload,
        )
        self.loop = VirtualLoop()
        self.loop.set_default_executor(InlineExecutor())
        self.task = self.loop.create_task(self.reloader.run())

    def _read_config(self) -> tuple[Config, Path]:
        self.read_count += 1
        if self.error is not None:
            raise self.error
        return self.config, self.folder

    def close(self) -> None:
        self.task.cancel()
        self.loop.run_until_complete(asyncio.gather(self.task, return_exceptions=True))
        self.loop.close()

    def write_schema(self, service: str, version: str = "v1") -> None:
        (self.schemas / f"{service}.json").write_bytes(schema_text(service, version))

    def request_reload(self) -> list[str]:
        """Request a reload and return its outcome."""
        self._forget_outcomes()
        self.requests.request()
        self.loop.settle()
        return self._outcomes

    def poll(self, count: int = 1) -> list[str]:
        """Let the reloader check at least `count` times and return the outcomes of reloads."""
        self._forget_outcomes()
        self.loop.sleep(POLL_INTERVAL_S * (count + 0.5))
        return self._outcomes

    def _forget_outcomes(self) -> None:
        self._outcomes, self.changes = [], []

    def _on_reload(self, outcome: str, changes: list[ContractChange]) -> None:
        self._outcomes.append(outcome)
        self.changes += changes

    def contract(self, service: str) -> Contract:
        contract = self.catalog.find(service)
        assert contract is not None
        return contract


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningReloader]:
    reloader = RunningReloader(tmp_path)
    yield reloader
    reloader.close()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "ase.gateway")
    return caplog


def touch(path: Path) -> None:
    """Change the modification time of a file, but not its content."""
    os.utime(path, ns=(0, 1))


def remove_ocr(reloader: RunningReloader) -> None:
    (reloader.schemas / "ocr.json").unlink()


@pytest.mark.parametrize(
    ("edit", "change", "field"),
    [
        (
            lambda r: r.write_schema("asr"),
            ContractChange("asr", "", schema_digest("asr")),
            "added",
        ),
        (
            lambda r: r.write_schema("ocr", "version 2"),
            ContractChange("ocr", schema_digest("ocr"), schema_digest("ocr", "version 2")),
            "changed",
        ),
        (remove_ocr, ContractChange("ocr", schema_digest("ocr"), ""), "removed"),
    ],
    ids=["added", "changed", "removed"],
)
def test_change_of_a_schema_file_takes_effect_at_the_next_check(
    running: RunningReloader,
    log: pytest.LogCaptureFixture,
    edit: Callable[[RunningReloader], None],
    change: ContractChange,
    field: str,
) -> None:
    edit(running)
    assert running.poll() == ["done"]
    assert running.changes == [change]
    contract = running.catalog.find(change.service)
    assert (contract.digest if contract else "") == change.new_digest
    assert running.requests.generation == 2
    (entry,) = log.records
    assert entry.getMessage() == "reloaded"
    services = {name: getattr(entry, name) for name in ("added", "changed", "removed")}
    assert services == {"added": [], "changed": [], "removed": [], field: [change.service]}


def test_several_changes_take_effect_in_one_reload(running: RunningReloader) -> None:
    running.write_schema("asr")
    running.write_schema("tts", "version 2")
    remove_ocr(running)
    assert running.poll() == ["done"]
    assert [change.service for change in running.changes] == ["asr", "ocr", "tts"]
    assert running.requests.generation == 2


def test_files_that_do_not_change_are_not_read_again(running: RunningReloader) -> None:
    assert running.poll(10) == []
    assert running.read_count == 0


def test_change_after_a_change_is_detected(running: RunningReloader) -> None:
    for version in ("version 2", "version 03"):
        running.write_schema("ocr", version)
        assert running.poll(3) == ["done"]
        assert running.contract("ocr").service.version == version
    assert running.requests.generation == 3


def test_request_reloads_without_waiting_for_the_next_check(running: RunningReloader) -> None:
    start = running.loop.time()
    running.write_schema("ocr", "version 2")
    assert running.request_reload() == ["done"]
    assert running.loop.time() == start
    assert running.poll(3) == [], "the check does not reload the same change again"


def test_request_without_a_change_is_served_once(
    running: RunningReloader, log: pytest.LogCaptureFixture
) -> None:
    assert running.request_reload() == ["same"]
    assert running.poll(3) == []
    assert running.requests.generation == 1
    assert [entry.getMessage() for entry in log.records] == ["reloaded; nothing changed"]


def test_those_that_wait_get_the_outcome_of_the_reload_that_took_them(
    running: RunningReloader,
) -> None:
    running.write_schema("ocr", "version 2")
    waiting = [running.loop.create_task(running.requests.reload()) for _ in range(2)]
    running.loop.settle()
    outcomes = [task.result() for task in waiting]
    assert outcomes[0] is outcomes[1]
    assert outcomes[0].to_json() == {
        "outcome": "done",
        "generation": 2,
        "added": [],
        "changed": ["ocr"],
        "removed": [],
        "restart_required": [],
        "reason": "",
        "certificate": "",
    }
    assert running.read_count == 1

    running.error = OSError("no such file")
    refused = running.loop.create_task(running.requests.reload())
    running.loop.settle()
    assert (refused.result().outcome, refused.result().reason) == ("refused", "no such file")

    running.error = RuntimeError("a fault of ours")
    refused = running.loop.create_task(running.requests.reload())
    running.loop.settle()
    assert refused.result().outcome == "refused"
    assert refused.result().generation == 2


def test_one_who_has_gone_is_not_waited_for(running: RunningReloader) -> None:
    task = running.loop.create_task(running.requests.reload())
    running.loop.call_soon(task.cancel)
    running.loop.settle()
    assert task.cancelled()
    assert running.request_reload() == ["same"]


@pytest.mark.parametrize("name", ["ase.yaml", "schemas/ocr.json"])
def test_touched_file_is_read_and_changes_nothing(running: RunningReloader, name: str) -> None:
    contracts = list(running.catalog)
    touch(running.folder / name)
    assert running.poll() == ["same"]
    assert running.read_count == 1
    assert [id(contract) for contract in running.catalog] == [id(c) for c in contracts]


def test_other_files_of_the_folder_are_not_watched(running: RunningReloader) -> None:
    (running.schemas / "README.md").write_text("text")
    assert running.poll(3) == []


def test_invalid_schema_is_refused_once_and_changes_nothing(
    running: RunningReloader, log: pytest.LogCaptureFixture
) -> None:
    (running.schemas / "ocr.json").write_text("{")
    running.write_schema("tts", "version 2")
    assert running.poll(5) == ["refused"], "the file is not read again until it changes"
    assert running.changes == []
    assert running.contract("tts").service.version == "v1", "all files or none"
    assert running.contract("ocr").digest == schema_digest("ocr")
    assert running.requests.generation == 1
    (entry,) = log.records
    assert (entry.levelname, entry.getMessage()) == (
        "ERROR",
        "reload refused; all stays as it was",
    )
    assert "ocr.json" in entry.__dict__["reason"]
    running.write_schema("ocr")
    assert running.poll() == ["done"]
    assert [change.service for change in running.changes] == ["tts"]


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("ase.yaml", [], [Diagnostic("unknown key")]),
        PermissionError(13, "Permission denied", "ase.yaml"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_config_that_cannot_be_read_is_refused(
    running: RunningReloader, log: pytest.LogCaptureFixture, error: Exception
) -> None:
    running.error = error
    assert running.request_reload() == ["refused"]
    assert running.contract("ocr").digest == schema_digest("ocr")
    (entry,) = log.records
    assert entry.__dict__["reason"] == str(error)


def test_missing_schema_folder_is_refused(
    running: RunningReloader, log: pytest.LogCaptureFixture
) -> None:
    running.config = Config(schemas="nowhere")
    assert running.request_reload() == ["refused"]
    (entry,) = log.records
    assert "nowhere: no such folder" in entry.__dict__["reason"]


def test_folder_that_disappears_is_refused_until_it_is_back(running: RunningReloader) -> None:
    elsewhere = running.folder / "elsewhere"
    running.schemas.rename(elsewhere)
    assert running.poll(3) == ["refused"]
    assert len(list(running.catalog)) == 2
    elsewhere.rename(running.schemas)
    assert running.poll(3) == ["same"]


def test_internal_error_is_logged_and_later_changes_are_still_detected(
    running: RunningReloader, log: pytest.LogCaptureFixture
) -> None:
    running.error = KeyError("inside")
    assert running.request_reload() == []
    (entry,) = log.records
    assert entry.exc_info is not None
    assert entry.exc_info[1] is running.error
    running.error = None
    running.write_schema("ocr", "version 2")
    assert running.poll() == ["done"]


SERVICE_DEADLINE = {"ocr": ServiceOptions(deadline=2.0)}


@pytest.mark.parametrize(
    ("fields", "deadlines"),
    [
        ({"gateway": GatewayOptions(deadline=9.0)}, (9.0, 9.0)),
        ({"services": SERVICE_DEADLINE}, (2.0, 5.0)),
        ({"services": SERVICE_DEADLINE, "gateway": GatewayOptions(deadline=9.0)}, (2.0, 9.0)),
    ],
)
def test_changed_deadlines_take_effect(
    running: RunningReloader, fields: dict[str, Any], deadlines: tuple[float, float]
) -> None:
    running.config = replace(running.config, **fields)
    assert running.request_reload() == ["done"]
    assert running.changes == [], "the schemas are the same"
    assert (running.contract("ocr").deadline, running.contract("tts").deadline) == deadlines
    assert running.requests.generation == 2
    assert running.request_reload() == ["same"]


def test_changed_affinity_takes_effect(running: RunningReloader) -> None:
    running.config = replace(
        running.config, services={"ocr": ServiceOptions(affinity="header.uid")}
    )
    assert running.request_reload() == ["done"]
    assert running.contract("ocr").affinity_path == ("header", "uid")


def test_changed_deadline_applies_to_contracts_of_reports_too(running: RunningReloader) -> None:
    digest = schema_digest("asr")
    running.catalog.reconcile([SchemaUse("asr", digest, 1, 1)], {digest: schema_text("asr")})
    running.config = replace(running.config, gateway=GatewayOptions(deadline=9.0))
    assert running.request_reload() == ["done"]
    assert (running.contract("asr").source, running.contract("asr").deadline) == ("report", 9.0)


def test_contracts_of_unchanged_files_are_not_built_again(running: RunningReloader) -> None:
    ocr, tts = running.contract("ocr"), running.contract("tts")
    running.write_schema("ocr", "version 2")
    assert running.poll() == ["done"]
    assert running.contract("tts") is tts
    assert running.contract("ocr") is not ocr


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"lb": LbOptions(ttl=9.0)}, "lb.ttl"),
        ({"lb": LbOptions(ttl=9.0), "log_level": "debug"}, "lb.ttl, log_level"),
        ({"lb": LbOptions(token="new")}, "lb.token"),
        ({"services": {"ocr": ServiceOptions(token="new")}}, "services.ocr.token"),
    ],
)
def test_changed_options_that_need_a_restart_are_logged(
    running: RunningReloader, log: pytest.LogCaptureFixture, fields: dict[str, Any], names: str
) -> None:
    running.config = replace(running.config, **fields)
    for _ in range(2):
        log.clear()
        running.request_reload()
        warning, _ = log.records
        assert (warning.levelname, warning.__dict__["options"]) == ("WARNING", names)


def test_option_that_needs_a_restart_is_no_change(running: RunningReloader) -> None:
    running.config = replace(running.config, lb=LbOptions(ttl=9.0))
    assert running.request_reload() == ["same"]
    assert running.requests.generation == 1


def test_reverted_option_needs_no_restart(
    running: RunningReloader, log: pytest.LogCaptureFixture
) -> None:
    startup_config = running.config
    running.config = replace(startup_config, lb=LbOptions(ttl=9.0))
    running.request_reload()
    log.clear()
    running.config = startup_config
    assert running.request_reload() == ["same"]
    assert [entry.levelname for entry in log.records] == ["INFO"]


def test_service_options_at_their_defaults_need_no_restart(
    running: RunningReloader, log: pytest.LogCaptureFixture
) -> None:
    """A missing option equals an empty one."""
    running.config = replace(running.config, services={"ocr": ServiceOptions()})
    running.request_reload()
    assert [entry.levelname for entry in log.records] == ["INFO"]


def test_another_schema_folder_is_read_and_watched(running: RunningReloader) -> None:
    running.schemas = running.folder / "others"
    running.schemas.mkdir()
    running.write_schema("asr")
    running.config = replace(running.config, schemas="others")
    assert running.request_reload() == ["done"]
    assert [contract.service.id for contract in running.catalog] == ["asr"]
    running.poll()
    running.write_schema("asr", "version 2")
    assert running.poll() == ["done"]
    assert running.contract("asr").service.version == "version 2"


def test_without_a_schema_folder_only_contracts_of_reports_stay(running: RunningReloader) -> None:
    digest = schema_digest("asr")
    running.catalog.reconcile([SchemaUse("asr", digest, 1, 1)], {digest: schema_text("asr")})
    running.config = Config()
    assert running.request_reload() == ["done"]
    assert [contract.service.id for contract in running.catalog] == ["asr"]


def test_without_a_config_file_schemas_are_watched(tmp_path: Path) -> None:
    running = RunningReloader(tmp_path, has_config_file=False)
    touch(running.config_file)
    assert running.poll() == []
    running.write_schema("ocr", "version 2")
    assert running.poll() == ["done"]
    running.close()


def test_certificate_is_reloaded_when_it_changes(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    certificate = FakeCertificate()
    running = RunningReloader(tmp_path, certificate=certificate)
    assert running.poll() == []
    assert not log.records
    certificate.has_changed = True
    assert running.poll() == [], "config and schemas are not read for it"
    assert [record.getMessage() for record in log.records] == ["certificate reloaded"]
    certificate.has_changed = True
    certificate.error = OSError("a.pem with b.pem: key values mismatch")
    assert running.poll(3) == ["refused"], "once"
    assert vars(log.records[-1])["reason"] == "a.pem with b.pem: key values mismatch"
    assert running.request_reload() == ["refused", "same"]
    running.close()


def test_request_that_comes_after_the_certificate_was_checked_reads_it_too(
    tmp_path: Path, log: pytest.LogCaptureFixture
) -> None:
    certificate = FakeCertificate()
    running = RunningReloader(tmp_path, certificate=certificate)
    certificate.on_check = running.requests.request
    assert running.poll() == ["same"]
    messages = [record.getMessage() for record in log.records]
    assert messages == ["certificate reloaded", "reloaded; nothing changed"]
    running.close()


def test_one_who_waits_learns_that_the_certificate_is_refused(tmp_path: Path) -> None:
    certificate = FakeCertificate()
    certificate.error = OSError("key values mismatch")
    running = RunningReloader(tmp_path, certificate=certificate)
    task = running.loop.create_task(running.requests.reload())
    running.loop.settle()
    outcome = task.result()
    assert (outcome.outcome, outcome.reason) == ("same", ""), "that of the config"
    assert outcome.certificate == "key values mismatch"
    running.close()
