"""Builds the wheel; with ASE_COMPILE=1, mypyc compiles the modules on the path of every request.

Compiled or not, they are the same modules: the wheel contains the .py files too, and the tests run
with either. The wheel also contains the demo services of the folder `examples`.
"""

import os
import sys
import tomllib
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

_DEMO_SERVICES = ("audio", "image", "vad")

COMPILED = [
    "atom/caller.py", "atom/decode.py", "atom/encode.py", "atom/errors.py", "atom/interfaces.py",
    "atom/protocols.py", "atom/streams.py", "atom/wire.py", "atom/xsf_streams.py",
    "config/options.py", "gateway/access/api_key.py", "gateway/access/authenticator.py",
    "gateway/access/caller_head.py", "gateway/access/identity.py",
    "gateway/access/limits.py", "gateway/access/meters.py",
    "gateway/access/key_table.py", "gateway/access/nonces.py", "gateway/access/proxies.py",
    "gateway/access/signature.py", "gateway/context.py", "gateway/grpc/driver.py",
    "gateway/http/cors.py", "gateway/http/fast_path.py",
    "gateway/http/head_cache.py", "gateway/http/head_reader.py",
    "gateway/http/head_validation.py",
    "gateway/http/memory_limits.py", "gateway/http/pipeline.py", "gateway/http/raw_input.py",
    "gateway/http/server_context.py", "gateway/http/timeouts.py",
    "gateway/http/write_batch.py", "gateway/plain/answers.py", "gateway/plain/envelope.py",
    "gateway/plain/exchange.py", "gateway/plain/heads.py", "gateway/request/checks.py",
    "gateway/request/content_coding.py",
    "gateway/request/envelope_exchange.py", "gateway/request/event_stream.py",
    "gateway/request/exchange.py", "gateway/request/interfaces.py",
    "gateway/request/json_body.py", "gateway/request/negotiation.py",
    "gateway/request/record.py", "gateway/request/record_lines.py", "gateway/request/response.py",
    "gateway/request/retry.py", "gateway/request/shutdown.py", "gateway/request/traces.py",
    "gateway/request/tracing.py",
    "gateway/services/catalog.py",
    "gateway/services/routes.py", "gateway/streaming/close_codes.py",
    "gateway/streaming/envelopes.py", "gateway/streaming/framing.py",
    "gateway/streaming/messages.py",
    "gateway/streaming/multiplexer.py", "gateway/streaming/session.py", "gateway/streaming/sse.py",
    "gateway/streaming/websocket.py", "gateway/telemetry/access_log.py",
    "gateway/telemetry/metrics.py", "gateway/telemetry/session_metrics.py",
    "gateway/unary/asgi_driver.py", "gateway/unary/cycle.py", "gateway/unary/handler.py",
    "gateway/unary/request_head.py", "lb/balancer/affinity.py", "lb/balancer/balancer.py",
    "lb/balancer/drain_rate.py", "lb/balancer/health_checks.py",
    "lb/balancer/least_expected_delay.py", "lb/balancer/pending_queue.py",
    "lb/balancer/policies.py", "lb/balancer/policy.py", "lb/balancer/retry_budget.py",
    "lb/endpoints/candidates.py", "lb/endpoints/endpoint.py", "lb/endpoints/epochs.py",
    "lb/endpoints/histogram.py",
    "lb/endpoints/lifecycle.py", "lb/endpoints/outlier.py", "lb/endpoints/report.py",
    "lb/endpoints/table.py", "lb/hub/leases.py", "lb/hub/subscriber.py", "lb/reporter/limiter.py",
    "lb/reporter/schedule.py", "rpc/backoff.py", "rpc/bounded_cache.py", "rpc/calls.py",
    "rpc/client.py", "rpc/connection.py", "rpc/deadlines.py", "rpc/frame_budget.py",
    "rpc/frames.py", "rpc/headers.py", "rpc/keepalive.py", "rpc/messages.py", "rpc/metadata.py",
    "rpc/outbound.py", "rpc/request_headers.py", "rpc/server_calls.py",
    "rpc/server_connection.py", "rpc/server_memory.py", "rpc/server_transport.py",
    "rpc/status.py", "rpc/streams.py", "rpc/timer.py", "rpc/transport.py",
    "schemas/model/errors.py", "schemas/model/plain.py", "schemas/model/service.py",
    "schemas/model/session.py", "schemas/model/text.py",
    "schemas/transforms/plan.py", "schemas/validation/request_validator.py",
    "schemas/validation/validate.py",
]  # fmt: skip

# What mypyc is slow at: one byte after the other. Cython makes C of these modules. Where they are
# missing, functions in Python take their place.
NATIVE = [
    "atom/wire_native.pyx", "gateway/http/head_native.pyx", "gateway/request/json_native.pyx",
    "gateway/request/record_lines_native.pyx",
    "gateway/streaming/frame_native.pyx", "schemas/validation/accept_native.pyx",
]  # fmt: skip

# `make check` does the strict type check with all stubs installed. Here mypy only supplies types,
# which must be there: mypyc takes a class whose base has the type Any for one without a base, and
# the process that uses it ends by a segmentation fault.
_MYPY_ARGS = ["--config-file=", "--ignore-missing-imports", "--disallow-subclassing-any"]
_COMPILERS = ["mypy>=2.3,<3", "types-protobuf", "cython>=3.1,<4"]


class _BuildWithDemo(build_py):
    """Puts the demo services into the package, so that `asectl up --demo` runs without a checkout.

    An editable install has them in `examples`.
    """

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            for name in _DEMO_SERVICES:
                target = Path(self.build_lib) / "asectl" / "demo" / name
                self.mkpath(str(target))
                for file in Path("examples", name).glob("*.*"):
                    self.copy_file(str(file), str(target))


def _build_requirements() -> list[str]:
    """Return what a compiled build needs: mypyc, and every package whose types it reads."""
    if os.environ.get("ASE_COMPILE") != "1":
        return []
    text = Path(__file__).with_name("pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    return [*_COMPILERS, *project["dependencies"], *project["optional-dependencies"]["gateway"]]


def _extensions() -> list[Extension]:
    if os.environ.get("ASE_COMPILE") != "1":
        return []
    if {"egg_info", "dist_info"} & set(sys.argv):  # metadata alone; the build comes later
        return []
    try:
        from Cython.Build import cythonize
        from mypyc.build import mypycify
    except ImportError:
        sys.exit("ASE_COMPILE=1 needs mypy, Cython and a C compiler: pip install mypy cython")
    extensions: list[Extension] = mypycify([*_MYPY_ARGS, *COMPILED], opt_level="3", debug_level="0")
    extensions += cythonize([_native_extension(path) for path in NATIVE], build_dir="build")
    for extension in extensions:
        # -Wall is among Python's flags. In generated code it finds nothing, in two minutes. Hidden
        # functions call each other directly: less code for a request that finds the caches cold.
        extension.extra_compile_args += ["-Wno-all", "-fvisibility=hidden"]
    return extensions


def _native_extension(path: str) -> Extension:
    return Extension(
        path.removesuffix(".pyx").replace("/", "."), [path], extra_compile_args=["-O3"]
    )


setup(
    cmdclass={"build_py": _BuildWithDemo},
    ext_modules=_extensions(),
    setup_requires=_build_requirements(),
)
