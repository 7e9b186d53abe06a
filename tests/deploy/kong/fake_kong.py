"""A server with the documented behaviour of Kong's Admin API (3.9), for the entities that we use.

Targets have IPv6 addresses in full, and texts such as dates are exported without quotes, as by
Kong. Source: Kong's documentation of the Admin API, of DB-less mode and of tags.

With a database entities are written one by one: 201, 200, 204, 404, 400 (schema violation), 409
(unique constraint). Without one they answer 405, and `/config` takes the whole document: 201, 304
(`check_hash`), 400 with `flattened_errors`.
"""

import hashlib
import ipaddress
import json
import re
import threading
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from deploy.kong.check import find_errors

PARENTS = {"targets": "upstreams", "routes": "services", "plugins": "services"}
DEFAULTS: dict[str, dict[str, Any]] = {
    "upstreams": {"slots": 10000, "hash_on": "none", "tags": None},
    "targets": {"weight": 100, "tags": None},
    "services": {"path": None, "enabled": True, "tags": None},
    "routes": {"hosts": None, "regex_priority": 0, "tags": None},
    "plugins": {"enabled": True, "protocols": ["grpc", "http"], "tags": None},
}
Answer = tuple[int, dict[str, Any] | None]


class FakeKong:
    """`store` maps kinds to entities by id. `requests` are the method and path of each request."""

    def __init__(self, *, database: bool = True, token: str = "", page_size: int = 2) -> None:
        self.store: dict[str, dict[str, dict[str, Any]]] = {kind: {} for kind in DEFAULTS}
        self.other_kinds: dict[str, Any] = {}  # whose entities are kept as they are
        self.requests: list[str] = []
        self.statuses: list[int] = []
        self.refused: set[str] = set()  # methods and paths that answer 500
        self.before: dict[str, Callable[[], None]] = {}  # what happens before they are answered
        self._database = database
        self._token = token
        self._page_size = page_size
        self._hash = ""

    def __enter__(self) -> Self:
        kong = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length) or b"{}")
                token = self.headers.get("kong-admin-token", "")
                status, content = kong.answer(self.command, self.path, body, token)
                kong.statuses.append(status)
                payload = b"" if content is None else json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json; charset=utf-8")
                self.send_header("content-length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            do_GET = do_POST = do_PATCH = do_DELETE = handle_one  # noqa: N815 (of the base)

            def log_message(self, *args: Any) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, target: str, body: Any, token: str) -> Answer:
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = [unquote(part) for part in parts.path.strip("/").split("/") if part]
        self.requests.append(f"{method} {parts.path}")
        self.before.pop(self.requests[-1], lambda: None)()
        if self._token and token != self._token:
            return 401, {"message": "Invalid credentials. Token or User credentials required"}
        if f"{method} {parts.path}" in self.refused:
            return 500, {"message": "An unexpected error occurred"}
        if not path:
            return 200, {"configuration": {"database": "postgres" if self._database else "off"}}
        if path == ["config"]:
            return self._answer_config(method, query, body)
        if method != "GET" and not self._database:
            message = f"cannot create or update '{path[-1]}' entities when not using a database"
            return 405, {"code": 12, "name": "operation unsupported", "message": message}
        if len(path) == 1:
            return self._answer_collection(method, path[0], None, query, body)
        if len(path) == 2:
            return self._answer_entity(method, path[0], path[1], body)
        parent = self._find(path[0], path[1])
        if parent is None:
            return 404, {"message": "Not found"}
        if path[2:] == ["targets", "all"] or len(path) == 3:
            return self._answer_collection(method, path[2], parent, query, body)
        return self._answer_entity(method, path[2], path[3], body)

    def _answer_config(self, method: str, query: dict[str, str], body: Any) -> Answer:
        if self._database:
            message = (
                "this endpoint is only available when Kong is configured to not use a database"
            )
            return 400, {"message": message}
        if method == "GET":
            return 200, {"config": self.export()}
        digest = hashlib.md5(json.dumps(body, sort_keys=True).encode()).hexdigest()  # noqa: S324
        if query.get("check_hash") and digest == self._hash:
            return 304, None
        errors = find_errors(body)
        if errors:
            flattened = [_flattened_error(body, error) for error in errors]
            message = "declarative config is invalid: {}"
            return 400, {"code": 14, "message": message, "flattened_errors": flattened}
        self._hash = digest
        self.load(body)
        return 201, {}

    def load(self, document: dict[str, Any]) -> None:
        """Replace all entities by those of a file, whose inner entities become entities too."""
        self.store = {kind: {} for kind in DEFAULTS}
        self.other_kinds = {
            kind: entities
            for kind, entities in document.items()
            if kind not in DEFAULTS and not kind.startswith("_")
        }
        for kind, parent_kind in [("upstreams", ""), ("services", ""), *PARENTS.items()]:
            for members in document.get(kind, ()):
                parent = self._find(parent_kind, members.get(parent_kind[:-1]) or "")
                self._add(kind, members, parent)
            for outer in document.get(parent_kind, ()) if parent_kind else ():
                for members in outer.get(kind, ()):
                    self._add(kind, members, self._find(parent_kind, outer["name"]))

    def export(self) -> str:
        """Return all entities as Kong does: flat, and by the ids of what they belong to."""
        document: dict[str, Any] = {"_format_version": "3.0", "_transform": False}
        for kind, entities in self.store.items():
            flat = []
            for entity in entities.values():
                parent_kind = PARENTS.get(kind, "")[:-1]
                reference = entity.get(parent_kind)
                flat.append({**entity, **({parent_kind: reference["id"]} if reference else {})})
            if flat:
                document[kind] = flat
        text = yaml.safe_dump({**document, **self.other_kinds}, sort_keys=False)
        return re.sub(r"'(\d{4}-\d\d-\d\d|=)'", r"\1", text)  # lyaml quotes neither

    def _answer_collection(
        self, method: str, kind: str, parent: dict[str, Any] | None, query: Any, body: Any
    ) -> Answer:
        if kind not in self.store:
            return 404, {"message": "Not found"}
        if method == "POST":
            return self._create(kind, body, parent)
        entities = [
            entity
            for entity in self.store[kind].values()
            if parent is None or entity.get(PARENTS[kind][:-1], {}).get("id") == parent["id"]
        ]
        start = int(query.get("offset") or 0)
        end = start + self._page_size
        page: dict[str, Any] = {"data": entities[start:end], "next": None}
        if end < len(entities):
            page |= {"offset": str(end), "next": f"/{kind}?offset={end}"}
        return 200, page

    def _create(self, kind: str, body: dict[str, Any], parent: dict[str, Any] | None) -> Answer:
        invalid = self._schema_violation(kind, body)
        if invalid:
            return 400, invalid
        if self._is_taken(kind, body, parent):
            member = {"targets": "target"}.get(kind, "name")
            message = f"UNIQUE violation detected on '{{{member}=\"{body[member]}\"}}'"
            return 409, {"code": 5, "name": "unique constraint violation", "message": message}
        return 201, self._add(kind, body, parent)

    def _is_taken(self, kind: str, body: dict[str, Any], parent: dict[str, Any] | None) -> bool:
        member = "target" if kind == "targets" else "name"
        parent_kind = PARENTS.get(kind, "")[:-1]
        scopes = [parent_kind] * (kind in ("targets", "plugins"))
        scopes += ["consumer", "route"] * (kind == "plugins")
        wanted = {**body, parent_kind: _reference(parent)}
        if kind == "targets":
            wanted["target"] = _stored_target(wanted["target"])
        return any(
            all(entity.get(name) == wanted.get(name) for name in (member, *scopes))
            for entity in self.store[kind].values()
        )

    def _schema_violation(self, kind: str, body: dict[str, Any]) -> dict[str, Any] | None:
        errors = find_errors({"_format_version": "3.0", kind: [body]})
        if not errors:
            return None
        message = f"schema violation ({'; '.join(errors)})"
        return {"code": 2, "name": "schema violation", "message": message}

    def _add(
        self, kind: str, members: dict[str, Any], parent: dict[str, Any] | None
    ) -> dict[str, Any]:
        entity = {**DEFAULTS[kind], "id": str(uuid.uuid4()), "created_at": 1, **members}
        for inner in ("targets", "routes", "plugins"):
            entity.pop(inner, None)
        if kind in PARENTS:
            entity[PARENTS[kind][:-1]] = _reference(parent)
        if kind == "targets":
            entity["target"] = _stored_target(entity["target"])
        self.store[kind][entity["id"]] = entity
        return entity

    def _find(self, kind: str, key: str) -> dict[str, Any] | None:
        for entity in self.store.get(kind, {}).values():
            if key in (entity["id"], entity.get("name"), entity.get("target")):
                return entity
        return None

    def _answer_entity(self, method: str, kind: str, key: str, body: dict[str, Any]) -> Answer:
        entity = self._find(kind, key)
        if method == "DELETE":
            if entity:
                del self.store[kind][entity["id"]]
            return 204, None
        if entity is None:
            return 404, {"message": "Not found"}
        if method == "PATCH":
            invalid = self._schema_violation(kind, {**entity, **body})
            if invalid:
                return 400, invalid
            config = {**entity.get("config", {}), **body.get("config", {})}
            entity.update(body, **({"config": config} if config else {}))
        return 200, entity


def _flattened_error(document: dict[str, Any], error: str) -> dict[str, Any]:
    """Return an error such as `services.0.retries: too large` as Kong flattens it."""
    path, _, message = error.partition(": ")
    kind, index, *members = path.split(".")
    return {
        "entity_type": kind.removesuffix("s"),
        "entity_name": document[kind][int(index)]["name"],
        "errors": [{"type": "field", "field": ".".join(members), "message": message}],
    }


def _stored_target(text: str) -> str:
    host, bracket, port = text.partition("]")
    return f"[{ipaddress.IPv6Address(host[1:]).exploded}]{port}" if bracket else text


def _reference(parent: dict[str, Any] | None) -> dict[str, str] | None:
    return {"id": parent["id"]} if parent else None
