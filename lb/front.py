"""The original's interface on the lb port: `utils.XsfCall/call` and `utils.ToolBox/cmdserver`."""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from lb import original
from lb.hub import Hub
from lb.table import Table
from lb.trust import RefusedError, Rules
from rpc.server import CallContext, UnaryHandler
from schemas.errors import ADDR_BLOCKED, BAD_OP, NOT_ALLOWED, AseError
from schemas.wire import ReqData, ResData, ToolRequest, ToolResponse, XsfData, XsfSession

_logger = logging.getLogger("ase.lb")


class Front:
    """Answers as the original's LB did, from the hub's table.

    `policy` is how `getServer` chooses; `wall_ns` gives nanoseconds since 1970.
    """

    def __init__(
        self, hub: Hub, table: Table, rules: Rules, policy: str, wall_ns: Callable[[], int]
    ) -> None:
        self._hub = hub
        self._table = table
        self._rules = rules
        self._policy = policy
        self._wall_ns = wall_ns
        self._turn = 0

    def unary(self) -> dict[str, UnaryHandler]:
        """Return the methods, by path."""
        return {"/utils.XsfCall/call": self.call, "/utils.ToolBox/cmdserver": self.tool}

    async def call(self, data: bytes, call: CallContext) -> bytes:
        """Serve an xsf call; what is wrong is told in the reply."""
        reply = ResData()
        try:
            request = ReqData.FromString(data)
        except DecodeError:
            request = ReqData()
        if request.s.h:
            reply.s.CopyFrom(XsfSession(h=request.s.h))
        try:
            self._serve(request, call, reply)
        except AseError as error:
            reply.code, reply.error_info = error.spec.code, str(error)
        return reply.SerializeToString()

    def _serve(self, request: ReqData, call: CallContext, reply: ResData) -> None:
        params = dict(request.param)
        match request.op:
            case "setServer":
                self._report(params, call, reply)
            case "getServer":
                self._check(call)
                self._turn += 1
                found = original.servers(params, self._table, self._policy, self._turn)
                reply.data.extend(XsfData(data=one) for one in found)
            case "cmdServer":
                reply.param["status"] = self._force(params, call)
            case "ping":
                pass
            case _:
                raise AseError(BAD_OP)

    def _report(self, params: Mapping[str, str], call: CallContext, reply: ResData) -> None:
        """Take in a report of several services; what fails of them is told together, code -1."""
        failed: list[tuple[str, AseError | RefusedError]] = []
        told = list(original.reports(params, self._wall_ns()))
        for report in told:
            instance = report.instance
            try:
                if instance.addr in self._hub.blocked:
                    raise AseError(ADDR_BLOCKED)
                self._hub.admit_once(report, call)
            except (AseError, RefusedError) as error:
                failed.append((instance.service, error))
        if not failed:
            return
        if len(told) == 1:
            _, why = failed[0]
            code = why.spec.code if isinstance(why, AseError) else NOT_ALLOWED.code
            reply.code, reply.error_info = code, str(why)
            return
        reply.code = -1
        reply.error_info = ";".join(f"{service}: {why}" for service, why in failed)

    def _check(self, call: CallContext) -> None:
        """Let only those ask who may watch."""
        try:
            self._rules.check_token(call.metadata)
        except RefusedError as error:
            raise AseError(NOT_ALLOWED, str(error)) from None

    def _force(self, params: Mapping[str, str], call: CallContext) -> str:
        try:
            self._rules.check_admin(call.metadata, call.peer)
        except RefusedError as error:
            raise AseError(NOT_ALLOWED, str(error)) from None
        status = original.offline(params, self._hub.blocked)
        addr = params["addr"]
        _logger.warning("forced %s", status, extra={"instance": addr, "peer": call.peer})
        if status == "offline":
            self._hub.drop(addr)
        return status

    async def tool(self, data: bytes, call: CallContext) -> bytes:
        """Serve a command of the ToolBox: health, status, query."""
        try:
            query = json.loads(ToolRequest.FromString(data).query or "{}")
        except (DecodeError, ValueError):
            query = None
        try:
            fits = isinstance(query, dict)
            body = self._tool(query, call) if fits else _bad("query is no JSON object")
        except AseError as error:
            body = _bad(str(error))
        headers = json.dumps({"Content-Type": "application/json"})
        return ToolResponse(headers=headers, body=body).SerializeToString()

    def _tool(self, query: dict[str, Any], call: CallContext) -> str:
        match query.get("cmd"):
            case "health" | "status":
                return json.dumps({"status": "ok", "instances": len(self._table)})
            case "query" if "forceOffline" in query:
                params = {"addr": str(query.get("engAddr", "")),
                          "forceOffline": str(query["forceOffline"])}  # fmt: skip
                return json.dumps({"status": self._force(params, call)})
            case "query":
                self._check(call)
                if str(query.get("down", "")) == "1":
                    return json.dumps([self._gone(*one) for one in self._hub.abnormal()])
                return original.monitor(query, self._table)
        return _bad("cmd must be health, status or query")

    def _gone(self, age: float, service: str, addr: str) -> dict[str, Any]:
        at = self._wall_ns() // 1_000_000_000 - int(age)
        return {"ts": at, "sub_svc": service, "node": addr}


def _bad(words: str) -> str:
    return json.dumps({"error": words})
