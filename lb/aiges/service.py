"""The original's LB service on the lb port: `utils.XsfCall/call`, `utils.ToolBox/cmdserver`."""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import DecodeError

from lb.aiges import protocol
from lb.endpoints.table import EndpointTable
from lb.hub.admission import AdmissionPolicy, RejectReason, ReportRejectedError
from lb.hub.service import Hub
from rpc.server import CallContext, UnaryHandler
from schemas.model.errors import ADDR_BLOCKED, BAD_OP, NOT_ALLOWED, AseError
from schemas.wire import ReqData, ResData, ToolRequest, ToolResponse, XsfData, XsfSession

_logger = logging.getLogger("ase.lb")


class AigesLbService:
    """Serves the LB interface of the original from the hub's table.

    `policy` is the policy of `getServer` (`lb/aiges/protocol.py`). `wall_ns` returns nanoseconds
    since 1970. `_query_count` counts `getServer` calls; the policy "poll" rotates by it.
    """

    def __init__(
        self,
        hub: Hub,
        table: EndpointTable,
        admission_policy: AdmissionPolicy,
        policy: str,
        wall_ns: Callable[[], int],
    ) -> None:
        self._hub = hub
        self._table = table
        self._admission_policy = admission_policy
        self._policy = policy
        self._wall_ns = wall_ns
        self._query_count = 0

    def unary_methods(self) -> dict[str, UnaryHandler]:
        """Return the unary methods by path."""
        return {
            "/utils.XsfCall/call": self.xsf_call,
            "/utils.ToolBox/cmdserver": self.toolbox_command,
        }

    async def xsf_call(self, data: bytes, call: CallContext) -> bytes:
        """Serve an xsf call; errors are returned as `code` and `error_info` of the reply.

        A message that cannot be parsed counts as one without an `op`.
        """
        reply = ResData()
        try:
            request = ReqData.FromString(data)
        except DecodeError:
            request = ReqData()
        if request.s.h:
            reply.s.CopyFrom(XsfSession(h=request.s.h))
        try:
            self._dispatch(request, call, reply)
        except AseError as error:
            reply.code, reply.error_info = error.spec.code, str(error)
        return reply.SerializeToString()

    def _dispatch(self, request: ReqData, call: CallContext, reply: ResData) -> None:
        params = dict(request.param)
        match request.op:
            case "setServer":
                self._handle_report(params, call, reply)
            case "getServer":
                self._check_token(call)
                self._query_count += 1
                addresses = protocol.pick_servers(
                    params, self._table, self._policy, self._query_count
                )
                reply.data.extend(XsfData(data=address) for address in addresses)
            case "cmdServer":
                reply.param["status"] = self._set_offline(params, call)
            case "ping":
                pass
            case _:
                raise AseError(BAD_OP)

    def _handle_report(self, params: Mapping[str, str], call: CallContext, reply: ResData) -> None:
        """Apply the reports of a `setServer` call, one for each service that it names.

        A failed report does not stop the others. If the call names one service, the reply has the
        code of its error. If it names several, the reply has code -1 and all messages.
        """
        failures: list[tuple[str, AseError | ReportRejectedError]] = []
        try:
            reports = list(protocol.parse_reports(params, self._wall_ns()))
        except AseError as error:
            self._hub.reject_report(call, RejectReason.BOUNDS, str(error))
            raise
        for report in reports:
            instance = report.instance
            try:
                if instance.addr in self._hub.blocked_addresses:
                    self._hub.reject_report(call, RejectReason.ADDRESS, ADDR_BLOCKED.message)
                    raise AseError(ADDR_BLOCKED)
                self._hub.apply_single_report(report, call)
            except (AseError, ReportRejectedError) as error:
                failures.append((instance.service, error))
        if not failures:
            return
        if len(reports) == 1:
            _, failure = failures[0]
            code = failure.spec.code if isinstance(failure, AseError) else NOT_ALLOWED.code
            reply.code, reply.error_info = code, str(failure)
            return
        reply.code = -1
        reply.error_info = ";".join(f"{service}: {failure}" for service, failure in failures)

    def _check_token(self, call: CallContext) -> None:
        """Raise AseError 20017 unless the caller has the token that `Watch` requires."""
        try:
            self._admission_policy.check_token(call.metadata)
        except ReportRejectedError as error:
            raise AseError(NOT_ALLOWED, str(error)) from None

    def _set_offline(self, params: Mapping[str, str], call: CallContext) -> str:
        try:
            self._admission_policy.check_admin(call.metadata, call.peer)
        except ReportRejectedError as error:
            raise AseError(NOT_ALLOWED, str(error)) from None
        is_blocked, status = protocol.set_offline(params, self._hub.blocked_addresses)
        addr = params["addr"]
        event = "forced offline" if is_blocked else "forced online"
        _logger.warning(event, extra={"instance": addr, "peer": call.peer})
        if is_blocked:
            self._hub.remove_address(addr)
        return status

    async def toolbox_command(self, data: bytes, call: CallContext) -> bytes:
        """Serve a ToolBox command: health, status or query; errors are returned as JSON."""
        try:
            query = json.loads(ToolRequest.FromString(data).query or "{}")
        except (DecodeError, ValueError):
            query = None
        try:
            is_object = isinstance(query, dict)
            body = (
                self._run_command(query, call)
                if is_object
                else _error_body("query is no JSON object")
            )
        except AseError as error:
            body = _error_body(str(error))
        headers = json.dumps({"Content-Type": "application/json"})
        return ToolResponse(headers=headers, body=body).SerializeToString()

    def _run_command(self, query: dict[str, Any], call: CallContext) -> str:
        match query.get("cmd"):
            case "health" | "status":
                return json.dumps({"status": "ok", "instances": len(self._table)})
            case "query" if "forceOffline" in query:
                params = {"forceOffline": str(query["forceOffline"])}
                if "engAddr" in query:
                    params["addr"] = str(query["engAddr"])
                return json.dumps({"status": self._set_offline(params, call)})
            case "query":
                self._check_token(call)
                if str(query.get("down", "")) == "1":
                    return json.dumps(
                        [self._lost_node(*lost) for lost in self._hub.lost_instances()]
                    )
                return protocol.monitor_json(query, self._table)
        return _error_body("cmd must be health, status or query")

    def _lost_node(self, age: float, service: str, addr: str) -> dict[str, Any]:
        timestamp = self._wall_ns() // 1_000_000_000 - int(age)
        return {"ts": str(timestamp), "sub_svc": service, "node": addr}


def _error_body(message: str) -> str:
    return json.dumps({"error": message})
