"""A real supervisord for tests, whose configuration includes a folder."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy.shimlets.interface import ShimletError
from deploy.shimlets.supervisor_rpc import SupervisorRpc


@contextlib.contextmanager
def running_supervisord(folder: Path, include: Path) -> Iterator[str]:
    """Run supervisord with its files in `folder`; yield the address of its interface."""
    socket = folder / "s.sock"
    config = folder / "supervisord.conf"
    config.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile={folder}/supervisord.log\n"
        f"pidfile={folder}/supervisord.pid\n"
        f"[unix_http_server]\nfile={socket}\n"
        "[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[include]\nfiles={include}/*.conf\n"
    )
    address = f"unix://{socket}"
    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    rpc = SupervisorRpc(address)
    try:
        while process.poll() is None:
            with contextlib.suppress(ShimletError):
                rpc.call("getState")
                break
        rpc.close()
        assert process.poll() is None, (folder / "supervisord.log").read_text()
        yield address
    finally:
        process.terminate()
        process.wait(30)
