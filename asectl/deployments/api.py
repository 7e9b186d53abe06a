"""Requests of the `asectl deploy` commands to the HTTP API of a deployer."""

import argparse
import getpass
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx

from asectl import http_client
from asectl.http_client import HttpTarget
from asectl.main import EXIT_CONFIG, EXIT_FAILED, EXIT_UNREACHABLE, Failure
from asectl.releases.profile import RegistryProfile
from asectl.table import printable
from config.source import ConfigError, Diagnostic, SourceFile, parse_yaml
from deploy.openapi import BASE_PATH
from deploy.workloads.spec import DeploymentSpec, InvalidSpecError, read_spec

_TIMEOUT_S: Final = 30.0


def add_deployer_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how the deployer is reached."""
    parser.add_argument("--url", default="", help="the deployer (http://127.0.0.1:8250)")
    http_client.add_ca_argument(parser)
    parser.add_argument(
        "--key-file", metavar="FILE", default="", help="a file with our key (asectl setup)"
    )


def add_id_argument(parser: argparse.ArgumentParser, help_text: str = "the deployment") -> None:
    """Declare the deployment that a command is about."""
    parser.add_argument("id", metavar="ID", help=help_text)


class DeployerClient:
    """A client of the deployer's HTTP API for one command. Every method raises Failure."""

    def __init__(self, target: HttpTarget, prefix: str) -> None:
        self._target = target
        self._prefix = prefix

    @classmethod
    def from_args(cls, args: argparse.Namespace, prefix: str = BASE_PATH) -> "DeployerClient":
        """Return the client of the flags, and of the settings for what they leave out.

        Its paths are below `prefix`.
        """
        profile = RegistryProfile.load(os.environ)
        target = HttpTarget.from_args(
            argparse.Namespace(
                url=args.url or profile.deployer, ca=args.ca or profile.ca, key_file=args.key_file
            )
        )
        if not args.key_file:
            target = replace(target, bearer=profile.key)
        return cls(target, prefix)

    def get(self, path: str) -> Any:
        """Return the data of a GET."""
        return self._data(self.request("GET", path))

    def send(self, method: str, path: str, body: Any = None) -> Any:
        """Return the data of another request."""
        return self._data(self.request(method, path, body))

    def text(self, path: str, query: Mapping[str, str]) -> str:
        """Return the text of a GET."""
        return self.request("GET", path, query=query).text

    def request(
        self, method: str, path: str, body: Any = None, *, query: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Return a response of 2xx; exit code 4 if the deployer does not answer as one."""
        headers = {"x-ase-author": getpass.getuser()}
        try:
            with self._target.client(_TIMEOUT_S) as client:
                response = client.request(
                    method, self._prefix + path, json=body, headers=headers, params=query
                )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from None
        if response.is_success:
            return response
        raise Failure(self._refusal(response), EXIT_FAILED)

    def _data(self, response: httpx.Response) -> Any:
        try:
            return response.json()["data"]
        except (ValueError, KeyError, TypeError):
            raise self._unreachable(TypeError("it answers otherwise")) from None

    def _refusal(self, response: httpx.Response) -> str:
        try:
            return printable(str(response.json()["message"]))
        except (ValueError, KeyError, TypeError):
            return f"{self._target.url}: {response.status_code}, and no deployer's answer"

    def _unreachable(self, error: Exception) -> Failure:
        reason = str(error) or type(error).__name__
        return Failure(
            f"{self._target.url}: no deployer answers: {reason}; start one (asectl deployer), or "
            "name it (--url, asectl setup --deployer)",
            EXIT_UNREACHABLE,
        )


def read_spec_file(path: str) -> DeploymentSpec:
    """Return the specification of a YAML or JSON file; a file without serviceId gives its name.

    Raises Failure (exit code 3) with every problem and its place.
    """
    try:
        source = parse_yaml(Path(path).read_text("utf-8-sig"), path)
        return read_spec(source.tree, Path(path).stem.lower().replace("_", "-"))
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{path}: {error}", EXIT_CONFIG) from None
    except ConfigError as error:
        raise Failure(f"\n{error}", EXIT_CONFIG) from None
    except InvalidSpecError as error:
        raise Failure(f"\n{_with_places(source, error)}", EXIT_CONFIG) from None


def _with_places(source: SourceFile, error: InvalidSpecError) -> ConfigError:
    diagnostics = []
    for problem in error.problems:
        path = problem.path
        while path and path not in source.locations:
            path = path[:-1]
        name = ".".join(map(str, problem.path))
        location = source.locations.get((*path, "")) or source.locations.get(path)
        message = f"{name}: {problem.message}" if name else problem.message
        diagnostics.append(Diagnostic(message, location, problem.hint))
    return ConfigError(source.name, source.lines, diagnostics)
