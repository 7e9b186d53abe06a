"""The HTTP/JSON API of the registry: what people and tools read, edit and publish.

Errors are `{"error", "cure", "kind"}` with the status of their kind. A file's ETag is the digest of
its content (RFC 9110, 8.8.3): `If-Match` refuses a change of what somebody else has changed since.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from registry import commands, feedback, keys
from registry.access import Actor, Authorizer, Role
from registry.commands import Author
from registry.discovery import visible_providers
from registry.errors import Refusal, RegistryError
from registry.file_diff import FileDiff, diff_files
from registry.names import InvalidNameError, ServiceVersion, check_file_name, check_part
from registry.openapi import VERSION_PATH, build_openapi
from registry.providers import Present
from registry.records import (
    MAX_FILE_BYTES,
    AuditEntry,
    FileKind,
    FileRef,
    GrayRule,
    Publication,
    Release,
    files_digest,
)
from registry.service import Registry
from registry.state import RegistryState
from registry.store.interfaces import ChangeSet, StoreCompactedError, StoreError, Transaction

_STATUSES: Final = {
    Refusal.INVALID: 400,
    Refusal.TOO_LARGE: 413,
    Refusal.NOT_FOUND: 404,
    Refusal.CONFLICT: 412,
    Refusal.PRECONDITION: 409,
    Refusal.BREAKING: 409,
    Refusal.FORBIDDEN: 403,
    Refusal.UNAUTHENTICATED: 401,
    Refusal.UNAVAILABLE: 503,
}
_MAX_JSON_BYTES: Final = 64 * 1024
_MIN_WAIT_S, _MAX_WAIT_S = 0.5, 60.0
_MAX_AUDIT: Final = 1000
_STATUS_INTERVAL_S: Final = 0.1
_MAX_CHANGES: Final = 200  # of one answer of a watch
_KEEP_ALIVE_S: Final = 15.0

Handler = Callable[[Request], Awaitable[Response]]
# Returns what breaks clients between two contents of a schema file.
FindBreaks = Callable[[str, bytes, bytes], list[str]]
Backup = Callable[[], Awaitable[str]]


class RegistryApi:
    """The handlers of the API.

    `find_breaks` compares schema files. `backup` writes a copy of the store and returns where; None
    for a store that makes its own.
    """

    def __init__(
        self,
        registry: Registry,
        present: Present,
        authorizer: Authorizer,
        find_breaks: FindBreaks,
        backup: Backup | None,
    ) -> None:
        self._registry = registry
        self._present = present
        self._authorizer = authorizer
        self._find_breaks = find_breaks
        # Set at the end: streams of events would hold it up.
        self.stopping = asyncio.Event()
        self._backup = backup

    def routes(self) -> list[Route]:
        """Return the routes below `/v1`."""
        version = VERSION_PATH
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/v1/versions", self._list_versions),
            ("GET", version, self._show_version),
            ("GET", f"{version}/files/{{file:path}}", self._read_file),
            ("PUT", f"{version}/files/{{file:path}}", self._put_file),
            ("DELETE", f"{version}/files/{{file:path}}", self._delete_file),
            ("GET", f"{version}/diff", self._diff),
            ("GET", f"{version}/releases", self._list_releases),
            ("POST", f"{version}/releases", self._publish),
            ("POST", f"{version}/rollback", self._roll_back),
            ("PUT", f"{version}/gray", self._change_gray),
            ("GET", f"{version}/status", self._status),
            ("GET", f"{version}/providers", self._list_providers),
            ("PUT", f"{version}/providers/{{address}}", self._set_provider),
            ("PUT", "/v1/projects/{project}", self._set_project),
            ("GET", "/v1/consumers", self._list_consumers),
            ("GET", "/v1/providers", self._list_all_providers),
            ("GET", "/v1/audit", self._audit),
            ("GET", "/v1/watch", self._watch),
            ("POST", "/v1/backup", self._make_backup),
        ]
        simple: dict[str, tuple[Role, Callable[..., Transaction]]] = {
            "discard": (Role.EDITOR, commands.discard_draft),
            "promote": (Role.PUBLISHER, commands.promote),
            "withdraw": (Role.PUBLISHER, commands.withdraw),
            "approve": (Role.PUBLISHER, commands.approve),
            "reject": (Role.PUBLISHER, commands.reject),
            "retire": (Role.PUBLISHER, _retire),
            "restore": (Role.PUBLISHER, _restore),
        }
        for name, (role, decide) in simple.items():
            table.append(("POST", f"{version}/{name}", self._simple_command(role, decide)))
        return [Route(path, _guarded(handler), methods=[method]) for method, path, handler in table]

    # Reading

    async def _list_versions(self, request: Request) -> Response:
        actor, state = self._identify(request), self._registry.state
        names = [name for name in state.versions() if actor.may_read(name.project)]
        versions = [_describe_version(state, name) for name in names]
        return JSONResponse({"revision": state.revision, "versions": versions})

    async def _show_version(self, request: Request) -> Response:
        name = self._readable_version(request)
        state = self._registry.state
        draft, _ = state.draft(name)
        if draft is None and not state.publication(name)[1]:
            raise RegistryError(Refusal.NOT_FOUND, f"{name}: there is no such version")
        files = commands.draft_files(state, name)
        return JSONResponse(
            {
                **_describe_version(state, name),
                "revision": state.revision,
                "files": {file: asdict(ref) for file, ref in sorted(files.items())},
                "digest": files_digest(files),
                "draft_by": draft.edited_by if draft else "",
                "draft_at": draft.edited_at if draft else 0,
            }
        )

    async def _read_file(self, request: Request) -> Response:
        name = self._readable_version(request)
        file = request.path_params["file"]
        number = _integer(request.query_params.get("release", "0"), "release")
        files = self._files_at(name, str(number) if number else "draft")
        if file not in files:
            raise RegistryError(Refusal.NOT_FOUND, f"{name}: no file {file!r}")
        ref = files[file]
        etag = f'"{ref.digest}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"etag": etag})
        content = await self._registry.content(ref.digest)
        headers = {"etag": etag, "x-ase-kind": ref.kind.value}
        return Response(content, media_type=ref.content_type, headers=headers)

    async def _list_releases(self, request: Request) -> Response:
        name = self._readable_version(request)
        releases = self._registry.state.releases(name)
        return JSONResponse({"releases": [_describe_release(release) for release in releases]})

    async def _diff(self, request: Request) -> Response:
        name, state = self._readable_version(request), self._registry.state
        publication, _ = state.publication(name)
        query = request.query_params
        old = self._files_at(name, query.get("from", str(publication.stable)))
        new = self._files_at(name, query.get("to", "draft"))
        diffs = await self._diff_files(old, new)
        return JSONResponse({"files": [asdict(diff) for diff in diffs]})

    async def _status(self, request: Request) -> Response:
        """Return who runs what; with `wait`, when all have answered or that many seconds passed."""
        name = self._readable_version(request)
        wait = min(_number(request.query_params.get("wait", "0"), "wait"), _MAX_WAIT_S)
        end = asyncio.get_running_loop().time() + wait
        while True:
            state, consumers = self._registry.state, self._present.consumers()
            statuses = feedback.rollout_status(state, name, consumers)
            is_complete = feedback.is_complete(statuses)
            if is_complete or asyncio.get_running_loop().time() >= end:
                break
            await asyncio.sleep(_STATUS_INTERVAL_S)
        publication, _ = state.publication(name)
        return JSONResponse(
            {
                "publication": _describe_publication(publication),
                "complete": is_complete,
                "instances": [status.to_json() for status in statuses],
            }
        )

    async def _list_consumers(self, request: Request) -> Response:
        actor = self._identify(request)
        consumers = [
            json.loads(consumer.to_bytes())
            for consumer in self._present.consumers()
            if any(actor.may_read(p.project) for p in consumer.subscription.patterns)
        ]
        return JSONResponse({"consumers": consumers})

    async def _list_all_providers(self, request: Request) -> Response:
        actor, state = self._identify(request), self._registry.state
        rows = []
        for provider in sorted(self._present.providers.values(), key=lambda p: str(p.name)):
            if actor.may_read(provider.name.project):
                override, _ = state.override(provider.name, provider.address)
                row = provider.to_json()
                rows.append({**row, "state": override.state if override else row["state"]})
        return JSONResponse({"providers": rows})

    async def _list_providers(self, request: Request) -> Response:
        name = self._readable_version(request)
        state, providers = self._registry.state, list(self._present.providers.values())
        rows = [p.to_json() for p in visible_providers(state, name, providers)]
        shown = {row["address"] for row in rows}
        rows += [
            {**p.to_json(), "state": "offline"}
            for p in providers
            if p.name == name and p.address not in shown
        ]
        return JSONResponse({"providers": rows})

    async def _audit(self, request: Request) -> Response:
        actor = self._identify(request)
        query = request.query_params
        limit = min(_integer(query.get("limit", "100"), "limit") or 1, _MAX_AUDIT)
        entries = await self._registry.audit(query.get("after", ""), limit)
        rows = []
        for key, entry in entries.items():
            record = AuditEntry.from_bytes(entry.value)
            if actor.may_read(record.subject.partition("/")[0]):
                rows.append({"key": key, **asdict(record)})
        after = max(entries, default="")
        return JSONResponse({"entries": rows, "after": after})

    async def _watch(self, request: Request) -> Response:
        """Return the changes after a revision: as events, or the next ones after a wait."""
        actor = self._identify(request)
        project = request.query_params.get("project", "*")
        actor.require(Role.READER, project)
        after = _integer(request.query_params.get("after", "0"), "after")
        last_event = request.headers.get("last-event-id", "")
        after = _integer(last_event, "last-event-id") if last_event else after
        changes = self._registry.changes(after)
        if "text/event-stream" in request.headers.get("accept", ""):
            events = _events(changes, project, self.stopping, partial(self._may_read, request))
            return StreamingResponse(events, media_type="text/event-stream")
        wait = min(_number(request.query_params.get("wait", "30"), "wait"), _MAX_WAIT_S)
        wait = max(wait, _MIN_WAIT_S)  # what is there already is read within it
        rows: list[dict[str, Any]] = []
        revision = after
        try:
            async with asyncio.timeout(wait):
                async for change_set in changes:
                    revision = change_set.revision
                    row = _describe_change_set(change_set, project)
                    rows += [row] if row["changes"] else []
                    if revision >= self._registry.state.revision or len(rows) >= _MAX_CHANGES:
                        break
        except TimeoutError:
            pass
        except StoreCompactedError as error:
            return JSONResponse({"error": str(error), "oldest": error.oldest, "kind": "gone"}, 410)
        return JSONResponse({"changes": rows, "after": revision})

    def _may_read(self, request: Request) -> bool:
        """Return whether the caller of a stream may still read what it asked for."""
        try:
            actor = self._identify(request)
            actor.require(Role.READER, request.query_params.get("project", "*"))
        except RegistryError:
            return False
        return True

    # Changing

    async def _put_file(self, request: Request) -> Response:
        actor = self._identify(request)
        name = _version(request)
        actor.require(Role.EDITOR, name.project)
        file = check_file_name(request.path_params["file"])
        content = await _read_body(request, MAX_FILE_BYTES)
        ref = await self._registry.upload(file, content)
        if_match = _expected_digest(request)

        def decide(state: RegistryState, author: Author) -> Transaction:
            return commands.put_file(state, author, name, file, ref, if_match)

        revision = await self._registry.execute(actor, decide)
        return JSONResponse(
            {"revision": revision, "file": file, **asdict(ref)}, headers={"etag": f'"{ref.digest}"'}
        )

    async def _delete_file(self, request: Request) -> Response:
        actor = self._identify(request)
        name = _version(request)
        actor.require(Role.EDITOR, name.project)
        file, if_match = request.path_params["file"], _expected_digest(request)

        def decide(state: RegistryState, author: Author) -> Transaction:
            return commands.delete_file(state, author, name, file, if_match)

        return JSONResponse({"revision": await self._registry.execute(actor, decide)})

    async def _publish(self, request: Request) -> Response:
        actor = self._identify(request)
        name = _version(request)
        actor.require(Role.PUBLISHER, name.project)
        body = await _read_json(request, {"comment": str, "gray": dict, "force": bool})
        rule = _read_rule(body["gray"]) if body.get("gray") else None
        files = commands.draft_files(self._registry.state, name)
        # Only what was looked at, by the author (If-Match) and for breaks, is released.
        digest = _expected_digest(request) or files_digest(files)
        if not body.get("force"):
            await self._check_breaks(name, files)

        def decide(state: RegistryState, author: Author) -> Transaction:
            return commands.publish(state, author, name, body.get("comment", ""), rule, digest)

        return await self._execute(actor, name, decide)

    async def _roll_back(self, request: Request) -> Response:
        actor = self._identify(request)
        name = _version(request)
        actor.require(Role.PUBLISHER, name.project)
        body = await _read_json(request, {"release": int, "comment": str})
        number = body.get("release", 0)

        def decide(state: RegistryState, author: Author) -> Transaction:
            return commands.roll_back(state, author, name, number, body.get("comment", ""))

        return await self._execute(actor, name, decide)

    async def _change_gray(self, request: Request) -> Response:
        actor = self._identify(request)
        name = _version(request)
        actor.require(Role.PUBLISHER, name.project)
        rule = _read_rule(
            await _read_json(request, {"labels": dict, "addresses": list, "percentage": float})
        )

        def decide(state: RegistryState, author: Author) -> Transaction:
            return commands.change_rule(state, author, name, rule)

        return await self._execute(actor, name, decide)

    def _simple_command(self, role: Role, decide: Callable[..., Transaction]) -> Handler:
        async def handle(request: Request) -> Response:
            actor = self._identify(request)
            name = _version(request)
            actor.require(role, name.project)
            return await self._execute(
                actor, name, lambda state, author: decide(state, author, name)
            )

        return handle

    async def _set_project(self, request: Request) -> Response:
        actor = self._identify(request)
        project = check_part(request.path_params["project"], "project")
        actor.require(Role.ADMIN, project)
        body = await _read_json(request, {"approval": bool})

        def decide(state: RegistryState, author: Author) -> Transaction:
            return commands.set_approval(state, author, project, approval=bool(body["approval"]))

        if "approval" not in body:
            raise RegistryError(Refusal.INVALID, "approval is missing")
        return JSONResponse({"revision": await self._registry.execute(actor, decide)})

    async def _set_provider(self, request: Request) -> Response:
        actor = self._identify(request)
        name, address = _version(request), request.path_params["address"]
        actor.require(Role.PUBLISHER, name.project)
        body = await _read_json(request, {"state": str, "comment": str})
        new_state, comment = body.get("state", ""), body.get("comment", "")

        def decide(state: RegistryState, author: Author) -> Transaction:
            return commands.override_provider(state, author, name, address, new_state, comment)

        return JSONResponse({"revision": await self._registry.execute(actor, decide)})

    async def _make_backup(self, request: Request) -> Response:
        self._identify(request).require(Role.ADMIN, "*")
        if self._backup is None:
            raise RegistryError(
                Refusal.PRECONDITION, "the store is etcd: etcdctl snapshot save makes its backup"
            )
        try:
            return JSONResponse({"backup": await self._backup()})
        except StoreError as error:
            raise RegistryError(Refusal.UNAVAILABLE, str(error)) from error

    async def _execute(
        self, actor: Actor, name: ServiceVersion, decide: Callable[..., Transaction]
    ) -> Response:
        """Make a change of a version and return how it is published then."""
        revision = await self._registry.execute(actor, decide)
        publication, _ = self._registry.state.publication(name)
        return JSONResponse({"revision": revision, **_describe_publication(publication)})

    async def _check_breaks(self, name: ServiceVersion, new: Mapping[str, FileRef]) -> None:
        """Raise RegistryError BREAKING if a release would break clients of an API."""
        stable = self._registry.state.release(
            name, self._registry.state.publication(name)[0].stable
        )
        breaks = []
        for file, ref in sorted(stable.files.items() if stable else ()):
            if ref.kind is not FileKind.SCHEMA or new.get(file) == ref:
                continue
            if file not in new:
                breaks.append(f"{file}: removed")
                continue
            contents = [await self._registry.content(r.digest) for r in (ref, new[file])]
            breaks += await asyncio.to_thread(self._find_breaks, file, *contents)
        if breaks:
            raise RegistryError(
                Refusal.BREAKING,
                f"{name}: clients would break\n" + "\n".join(breaks),
                "publish it as a new version, or with force",
            )

    def _files_at(self, name: ServiceVersion, place: str) -> Mapping[str, FileRef]:
        state = self._registry.state
        if place == "draft":
            return commands.draft_files(state, name)
        number = _integer(place, "release")
        return _release(state, name, number).files if number else {}

    async def _diff_files(
        self, old: Mapping[str, FileRef], new: Mapping[str, FileRef]
    ) -> list[FileDiff]:
        digests = {
            ref.digest
            for files, others in ((old, new), (new, old))
            for file, ref in files.items()
            if others.get(file) != ref
        }
        contents = {digest: await self._registry.content(digest) for digest in digests}
        return await asyncio.to_thread(diff_files, old, new, contents)

    def _identify(self, request: Request) -> Actor:
        headers = request.headers
        return self._authorizer.identify(
            headers.get("authorization", ""), headers.get("x-ase-author", "")[:100]
        )

    def _readable_version(self, request: Request) -> ServiceVersion:
        name = _version(request)
        self._identify(request).require(Role.READER, name.project)
        return name


def _guarded(handler: Handler) -> Handler:
    """Return the handler with its refusals as responses."""

    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except RegistryError as error:
            return _error_response(error)
        except StoreError as error:
            return _error_response(RegistryError(Refusal.UNAVAILABLE, str(error)))
        except (InvalidNameError, OverflowError, UnicodeError) as error:
            return _error_response(RegistryError(Refusal.INVALID, str(error)))
        except ClientDisconnect:
            return Response(status_code=400)

    return guarded


def build_api(api: RegistryApi, further_routes: list[Route], version: str) -> Starlette:
    """Return the application: the API and further routes, such as those of metrics.

    `version` is that of the product, for the document.
    """

    async def document(_: Request) -> Response:
        return JSONResponse(build_openapi(version))

    routes = [*api.routes(), Route("/openapi.json", document), *further_routes]
    return Starlette(routes=routes)


def _error_response(error: RegistryError) -> Response:
    status = _STATUSES[error.kind]
    headers = {"www-authenticate": 'Bearer realm="ase-registry"'} if status == 401 else {}
    content = {"error": str(error), "cure": error.cure, "kind": error.kind.value}
    return JSONResponse(content, status, headers)


def _version(request: Request) -> ServiceVersion:
    params = request.path_params
    parts = ("project", "group", "service", "version")
    return ServiceVersion(*(check_part(params[part], part) for part in parts))


def _release(state: RegistryState, name: ServiceVersion, number: int) -> Release:
    release = state.release(name, number)
    if release is None:
        raise RegistryError(Refusal.NOT_FOUND, f"{name}: no release {number}")
    return release


def _expected_digest(request: Request) -> str | None:
    """Return what If-Match and If-None-Match say of the file: its digest, "" for no file."""
    if request.headers.get("if-none-match") == "*":
        return ""
    tag = request.headers.get("if-match")
    return tag.strip().removeprefix("W/").strip('"') if tag is not None else None


async def _read_body(request: Request, limit: int) -> bytes:
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > limit:
            raise RegistryError(Refusal.TOO_LARGE, f"more than {limit // 1024} KiB")
    return bytes(content)


async def _read_json(request: Request, members: Mapping[str, type[Any]]) -> dict[str, Any]:
    """Return the members of a JSON body, which may be empty. Raises RegistryError INVALID."""
    raw = await _read_body(request, _MAX_JSON_BYTES)
    try:
        tree = json.loads(raw) if raw.strip() else {}
        json.dumps(tree, ensure_ascii=False).encode()  # half of a surrogate pair cannot be kept
    except (ValueError, RecursionError):
        raise RegistryError(Refusal.INVALID, "the body is not JSON") from None
    if not isinstance(tree, dict):
        raise RegistryError(Refusal.INVALID, "the body is no JSON object")
    for key, value in tree.items():
        if key not in members:
            names = ", ".join(members)
            raise RegistryError(Refusal.INVALID, f"unknown member {key[:80]!r}; there are {names}")
        expected = (int, float) if members[key] is float else members[key]
        is_flag = isinstance(value, bool)
        if not isinstance(value, expected) or (is_flag and members[key] is not bool):
            raise RegistryError(Refusal.INVALID, f"{key} must be of type {members[key].__name__}")
    return tree


def _read_rule(tree: Mapping[str, Any]) -> GrayRule:
    labels, addresses = tree.get("labels", {}), tree.get("addresses", [])
    percentage = tree.get("percentage", 0)
    if unknown := {*tree} - {"labels", "addresses", "percentage"}:
        raise RegistryError(Refusal.INVALID, f"gray: unknown member {min(unknown)[:80]!r}")
    if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
        raise RegistryError(Refusal.INVALID, "gray.labels must be an object of texts")
    if not isinstance(addresses, list) or not all(isinstance(a, str) for a in addresses):
        raise RegistryError(Refusal.INVALID, "gray.addresses must be a list of texts")
    if isinstance(percentage, bool) or not isinstance(percentage, int | float):
        raise RegistryError(Refusal.INVALID, "gray.percentage must be a number")
    return GrayRule(labels, tuple(addresses), float(percentage))


def _integer(text: str, name: str) -> int:
    if not text.isdecimal() or not text.isascii() or len(text) > 18:
        raise RegistryError(Refusal.INVALID, f"{name} must be a whole number")
    return int(text)


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e9:
        raise RegistryError(Refusal.INVALID, f"{name} must be a number of seconds")
    return value


def _describe_version(state: RegistryState, name: ServiceVersion) -> dict[str, Any]:
    publication, _ = state.publication(name)
    draft, _ = state.draft(name)
    return {
        "name": str(name),
        **_describe_publication(publication),
        "has_draft": draft is not None,
        "approval": state.settings(name.project)[0].approval,
    }


def _describe_publication(publication: Publication) -> dict[str, Any]:
    gray, pending = publication.gray, publication.pending
    return {
        "stable": publication.stable,
        "since": publication.since,
        "gray": {**asdict(gray), "rule_text": str(gray.rule)} if gray else None,
        "pending": asdict(pending) if pending else None,
        "retired": publication.retired,
        "last_release": publication.last_number,
    }


def _describe_release(release: Release) -> dict[str, Any]:
    files = {file: ref.digest for file, ref in sorted(release.files.items())}
    return {**asdict(release), "files": files}


def _describe_change_set(change_set: ChangeSet, project: str) -> dict[str, Any]:
    """Return what a transaction has changed in a project, `*`: in all."""
    changes = []
    for change in change_set.changes:
        record = json.loads(change.value) if change.value else None
        if project not in ("*", _project_of(change.key, record)):
            continue
        if record is not None and change.key.startswith(keys.DRAFT):
            del record["files"]  # they are many; GET VERSION has them
        changes.append({"key": change.key, "record": record})
    return {"revision": change_set.revision, "changes": changes}


def _project_of(key: str, record: Mapping[str, Any] | None) -> str:
    """Return the project that a record is of; an audit entry is of its subject's."""
    if key.startswith(keys.AUDIT):
        return str(record["subject"]).partition("/")[0] if record is not None else ""
    return key.split("/", 2)[1]


async def _events(
    changes: AsyncIterator[ChangeSet],
    project: str,
    stopping: asyncio.Event,
    is_allowed: Callable[[], bool],
) -> AsyncIterator[str]:
    """Yield the events of changes, until `stopping`; a comment while there are none.

    They end when the key of the caller is revoked.
    """
    stopped = asyncio.ensure_future(stopping.wait())
    upcoming = asyncio.ensure_future(anext(aiter(changes), None))
    try:
        while not stopping.is_set() and is_allowed():
            waiting = {upcoming, stopped}
            done, _ = await asyncio.wait(
                waiting, timeout=_KEEP_ALIVE_S, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                yield ": keep-alive\n\n"
            if upcoming not in done:
                continue
            change_set = upcoming.result()
            if change_set is None:
                return
            upcoming = asyncio.ensure_future(anext(aiter(changes), None))
            row = _describe_change_set(change_set, project)
            if row["changes"]:
                yield f"id: {row['revision']}\nevent: change\ndata: {json.dumps(row)}\n\n"
    except StoreCompactedError as error:
        yield f"event: compacted\ndata: {json.dumps({'oldest': error.oldest})}\n\n"
    except StoreError as error:
        yield f"event: error\ndata: {json.dumps({'error': str(error)})}\n\n"
    finally:
        for task in (stopped, upcoming):
            task.cancel()
        await asyncio.gather(stopped, upcoming, return_exceptions=True)


def _retire(state: RegistryState, author: Author, name: ServiceVersion) -> Transaction:
    return commands.set_retired(state, author, name, retired=True)


def _restore(state: RegistryState, author: Author, name: ServiceVersion) -> Transaction:
    return commands.set_retired(state, author, name, retired=False)
