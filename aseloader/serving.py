"""`serve(Wrapper)`: run a loader from Python, without the command line."""

import asyncio
import inspect
import logging
import os
import signal
from collections.abc import Callable, Mapping
from typing import Any

from aseloader.functions import wrapper_class_of
from aseloader.log_context import SidFilter

_logger = logging.getLogger("ase.loader")


def serve(
    wrapper: Callable[..., Any],
    *,
    lb: str = "127.0.0.1:8220",
    host: str = "127.0.0.1",
    port: int = 0,
    config: Mapping[str, str] | None = None,
    **options: Any,
) -> None:
    """Serve a wrapper class, or a function with `@service`, until SIGTERM or Ctrl-C.

        if __name__ == "__main__":
            serve(Words, lb="gateway:8220", config={"stop": "the"})

    `lb` are the hubs, separated by commas; their token is `ASE_LB_TOKEN` in the environment, and
    the version of the model `ASE_LOADER_VERSION`; `ASE_LOADER_SERVICE` is another service id.
    `config` is the argument of `init`. `options` are other fields of `aseloader.run.LoaderOptions`,
    such as `total` and `metrics_port`. If logging is not configured, records go to stderr as text.
    Raises TypeError if `wrapper` is neither, DeclarationError for an invalid one, LoadError if
    `init` raises, OSError if the port cannot be bound. If a thread of the wrapper does not return
    after the drain, the process exits with code 1.
    """
    # Imported here: a module with a Wrapper imports this one, and may never serve it itself.
    import uvloop

    from aseloader.renaming import as_service
    from aseloader.run import LoaderOptions, run
    from lb.credentials import HubCredentials
    from lb.endpoints.report import SERVICE_VARIABLE, VERSION_VARIABLE

    wrapper_class = wrapper_class_of(wrapper)
    if wrapper_class is None:
        raise TypeError(f"{wrapper!r} is no Wrapper, and no function with @service")
    wrapper_class = as_service(wrapper_class, os.environ.get(SERVICE_VARIABLE, ""))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for handler in logging.getLogger().handlers:
        handler.addFilter(SidFilter())
    loader_options = LoaderOptions(
        host=host,
        port=port,
        hubs=tuple(hub.strip() for hub in lb.split(",")),
        credentials=HubCredentials(os.environ.get("ASE_LB_TOKEN", "")),
        config=config or {},
        source=(f"{inspect.getsourcefile(wrapper)}:{wrapper.__name__}",),
        **{"version": os.environ.get(VERSION_VARIABLE, ""), **options},
    )

    async def main() -> bool:
        loop = asyncio.get_running_loop()
        stop: asyncio.Future[bool] = loop.create_future()

        def on_signal() -> None:
            if not stop.done():
                stop.set_result(True)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        return await run(wrapper_class, loader_options, _log_address, stop)

    if not uvloop.run(main()):
        _logger.error("a thread of the wrapper still runs; leaving it")
        logging.shutdown()
        os._exit(1)


def _log_address(addr: str) -> None:
    _logger.info("listening on %s", addr)
