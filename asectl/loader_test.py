"""`asectl loader test`: run the cases of a Wrapper, here or at a loader that runs it."""

import argparse
import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asectl.containers import running_image
from asectl.loader_cases import WrapperCase, compare, compare_error, read_cases
from asectl.main import EXIT_CONFIG, EXIT_FAILED, EXIT_UNREACHABLE, EXIT_USAGE, Failure
from asectl.output import add_output_argument, print_output
from config.source import ConfigError, parse_yaml

if TYPE_CHECKING:
    from aseloader.wrapper import Data

Call = Callable[[Mapping[str, Any], Mapping[str, bytes]], "dict[str, Data]"]


@dataclass(frozen=True, slots=True)
class _Result:
    case: str
    seconds: float
    differences: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "case": self.case,
            "passed": not self.differences,
            "seconds": round(self.seconds, 4),
            "differences": self.differences,
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("wrapper", metavar="FILE:Class", help="the Wrapper to test")
    parser.add_argument("--cases", metavar="FILE", help="the cases (cases.yaml beside the Wrapper)")
    parser.add_argument(
        "--loader", default="", metavar="HOST:PORT", help="a loader that runs it; else it runs here"
    )
    parser.add_argument(
        "--image", default="", help="an image of asectl loader build, which is run for it"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="an entry of init's config"
    )
    parser.add_argument(
        "--update", action="store_true", help="write the files that outputs are compared with"
    )
    add_output_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Run the cases and print which passed; return 1 if one failed.

    Raises Failure: exit code 3 for cases that are invalid, 4 for a loader that is not there.
    """
    from aseloader.declare import DeclarationError
    from aseloader.loading import LoadError, load
    from aseloader.testing import LoaderAt, LoaderFor
    from rpc.status import RpcError

    path = Path(args.cases or Path(args.wrapper.partition(":")[0]).with_name("cases.yaml"))
    cases = _read(path)
    if args.loader and args.image:
        raise Failure("--loader or --image: one of them", EXIT_USAGE)
    config = dict(_key_value(text) for text in args.set)
    try:
        wrapper_class = load(args.wrapper)
        with contextlib.ExitStack() as stack:
            address = args.loader
            if args.image:
                address = stack.enter_context(running_image(args.image, args.set))
            call: Call = (
                stack.enter_context(LoaderAt(address, wrapper_class))
                if address
                else stack.enter_context(LoaderFor(wrapper_class(), config))
            )
            stack.enter_context(contextlib.chdir(path.parent))
            results = [_run_case(case, call, update=args.update) for case in cases]
    except (LoadError, DeclarationError) as error:
        raise Failure(str(error)) from None
    except RpcError as error:
        raise Failure(f"{args.loader}: {error}", EXIT_UNREACHABLE) from None
    print_output(args.output, [result.to_json() for result in results], _lines(results))
    return EXIT_FAILED if any(result.differences for result in results) else 0


def _read(path: Path) -> list[WrapperCase]:
    try:
        return read_cases(parse_yaml(path.read_text("utf-8-sig"), str(path)))
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}", EXIT_CONFIG) from None
    except (ConfigError, UnicodeDecodeError) as error:
        raise Failure(f"\n{error}", EXIT_CONFIG) from None


def _run_case(case: WrapperCase, call: Call, *, update: bool) -> _Result:
    from aseloader.testing import LoaderError

    started_at = time.monotonic()
    try:
        inputs = {name: text.encode() for name, text in case.texts.items()}
        inputs |= {name: Path(file).read_bytes() for name, file in case.files.items()}
        answer = call(case.parameters, inputs)
    except LoaderError as error:
        differences = compare_error(case, error.code, error.message)
    except OSError as error:
        differences = [f"{error.filename}: {error.strerror}"]
    else:
        outputs = {name: output.data for name, output in answer.items()}
        if update:
            _write_files(case, outputs)
        differences = compare(case, outputs, partial(_read_bytes))
    return _Result(case.name, time.monotonic() - started_at, differences)


def _read_bytes(file: str) -> bytes:
    return Path(file).read_bytes()


def _write_files(case: WrapperCase, outputs: Mapping[str, bytes]) -> None:
    for name, expectation in case.outputs.items():
        if expectation.kind == "file" and name in outputs:
            path = Path(expectation.value)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(outputs[name])


def _lines(results: list[_Result]) -> list[str]:
    lines = []
    for result in results:
        verdict = "FAILED" if result.differences else "passed"
        lines.append(f"{verdict}  {result.case} ({result.seconds * 1000:.0f} ms)")
        lines += [f"        {difference}" for difference in result.differences]
    failed = sum(bool(result.differences) for result in results)
    return [*lines, f"{len(results)} cases, {failed} failed"]


def _key_value(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise Failure(f"--set {text}: must be KEY=VALUE", 2)
    return key, value
