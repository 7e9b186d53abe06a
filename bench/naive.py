"""The straightforward implementation: Starlette, grpc.aio and jsonschema in one file.

It is the baseline that the product is compared with. The environment variable BENCH_SCHEMA is the
path of the service's schema document, BENCH_BACKEND the address of the backend, and BENCH_PORT the
port to listen on.
"""

import base64
import json
import os
import uuid
from pathlib import Path
from typing import Any

import grpc
import jsonschema
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from schemas.model import document
from schemas.validation.compile import compile_input
from schemas.wire import LoaderInput, LoaderOutput, MetaDesc, Payload


def build_app() -> Starlette:
    """Return the application; its only route is the unary path of the service in BENCH_SCHEMA."""
    service = document.service_from_document(
        document.parse(Path(os.environ["BENCH_SCHEMA"]).read_bytes())
    )
    validator = jsonschema.Draft202012Validator(compile_input(service.input))
    infer_calls: list[Any] = []

    async def once(request: Request) -> JSONResponse:
        if not infer_calls:
            channel = grpc.aio.insecure_channel(
                os.environ["BENCH_BACKEND"], options=[("grpc.lb_policy_name", "round_robin")]
            )
            infer_calls.append(channel.unary_unary("/ase.v1.Loader/Infer"))
        body = json.loads(await request.body())
        validator.validate(body)
        loader_input = LoaderInput(serviceId=service.id, state=LoaderInput.ONCE)
        for name, value in body["header"].items():
            loader_input.headers[name] = str(value)
        for name, value in body["parameter"][service.id].items():
            loader_input.params[name] = str(value)
        for name, part in body["payload"].items():
            data_type = service.inputs[name]
            meta = MetaDesc(name=name, dataType=int(data_type))
            loader_input.pl.append(Payload(meta=meta, data=base64.b64decode(part[data_type.key])))
        reply = await infer_calls[0](loader_input.SerializeToString(), timeout=5)
        output = LoaderOutput.FromString(reply)
        payload = {
            part.meta.name: {
                service.accepts[part.meta.name].key: base64.b64encode(part.data).decode()
            }
            for part in output.pl
        }
        header = {"code": 0, "message": "success", "sid": uuid.uuid4().hex}
        return JSONResponse({"header": header, "payload": payload})

    return Starlette(routes=[Route(f"/v1/private/{service.id}", once, methods=["POST"])])


if __name__ == "__main__":
    uvicorn.run(
        build_app(), port=int(os.environ["BENCH_PORT"]), access_log=False, log_level="error"
    )
