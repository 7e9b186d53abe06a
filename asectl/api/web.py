"""`asectl api web`: design an API in a browser; save it to files, or to the registry."""

import argparse
import asyncio
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import Any

from asectl import process
from asectl.http_client import DEFAULT_URL
from asectl.releases.api import RegistryApiClient, add_registry_arguments, file_path
from config.options import GatewayOptions
from rpc.addresses import listen

_DEFAULT_PORT = 8250


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument(
        "file", nargs="?", default="ai_api.yaml", help="the declaration (ai_api.yaml)"
    )
    parser.add_argument(
        "--port", type=int, default=_DEFAULT_PORT, help=f"({_DEFAULT_PORT}); 0: any"
    )
    parser.add_argument("--schemas", default="schemas", help="the folder of schemas (schemas)")
    parser.add_argument("--gateway", default=DEFAULT_URL, help=f"what is tried ({DEFAULT_URL})")
    parser.add_argument("--open", action="store_true", help="open a browser too")
    parser.add_argument("--until-stdin-closes", action="store_true", help=argparse.SUPPRESS)
    add_registry_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Serve the page on the loopback address until Ctrl-C. Raises OSError for a port in use."""
    from asectl.designer.server import Workspace, build_app
    from gateway.server import admin_server
    from gateway.telemetry.admin import AdminAccess

    workspace = Workspace(
        Path(args.file), Path(args.schemas), args.gateway.rstrip("/"), _Pusher(args).push
    )
    sock = listen("127.0.0.1", args.port)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"

    async def main(stop: "asyncio.Future[bool]") -> None:
        options = replace(GatewayOptions(), lame_duck=0.0, drain=1.0)
        # It refuses other hosts and origins: a page elsewhere must not read or write our files.
        server = admin_server(build_app(workspace), options, AdminAccess("gateway", (), ""))
        task = asyncio.create_task(server.serve(sockets=[sock]))
        print(f"designing {args.file} at {url}; Ctrl-C ends it", flush=True)
        if args.open:
            await asyncio.to_thread(webbrowser.open, url)
        await stop
        server.request_exit()
        await task

    return process.serve(main, until_stdin_closes=args.until_stdin_closes)


class _Pusher:
    """Puts schemas into the registry that the flags name."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args

    def push(self, metadata: dict[str, Any], service: str, schema: str) -> str:
        """Put a schema into the draft of its version; return that. Raises Failure."""
        from asectl.releases.push import version_of_metadata

        client = RegistryApiClient.from_args(self._args)
        name = version_of_metadata(client, metadata, service)
        path = file_path(name, f"schema_{service}.json")
        client.request("PUT", path, content=schema.encode())
        return f"the draft of {name}; asectl config publish {name} releases it"
