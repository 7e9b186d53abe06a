"""Requests of the `asectl config` commands to the HTTP API of a registry."""

import argparse
import getpass
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

import httpx

from asectl import http_client
from asectl.http_client import HttpTarget
from asectl.main import EXIT_FAILED, EXIT_UNREACHABLE, EXIT_USAGE, Failure
from asectl.releases.profile import RegistryProfile
from asectl.table import printable
from registry.names import InvalidNameError, ServiceVersion

_TIMEOUT_S: Final = 70.0  # longer than a registry lets a request wait


def add_registry_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how the registry is reached."""
    parser.add_argument("--url", default="", help="the HTTP API of the registry (asectl setup)")
    http_client.add_ca_argument(parser)
    parser.add_argument(
        "--key-file", metavar="FILE", default="", help="a file with our key (asectl setup)"
    )


def add_name_argument(parser: argparse.ArgumentParser) -> None:
    """Declare the version that a command is about."""
    parser.add_argument(
        "name",
        metavar="NAME",
        help="[[PROJECT/]GROUP/]SERVICE[/VERSION]; what is left out comes from asectl setup",
    )


class RegistryApiClient:
    """A client of the registry's HTTP API for one command."""

    def __init__(self, target: HttpTarget, profile: RegistryProfile) -> None:
        self.profile = profile
        self._target = target

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> "RegistryApiClient":
        """Return the client of the flags, and of the settings for what they leave out.

        Raises Failure.
        """
        profile = RegistryProfile.load(os.environ)
        url = args.url or profile.url
        target = HttpTarget.from_args(
            argparse.Namespace(url=url, ca=args.ca or profile.ca, key_file=args.key_file)
        )
        # The key of a gateway, which a variable may name, is none of the registry.
        if not args.key_file:
            target = replace(target, bearer=profile.key)
        return cls(target, profile)

    @property
    def url(self) -> str:
        """The URL of the registry."""
        return self._target.url

    def version(self, name: str) -> ServiceVersion:
        """Return the version that a command names. Raises Failure."""
        profile, parts = self.profile, name.split("/")
        match parts:
            case [service]:
                parts = [profile.project, profile.group, service, profile.version]
            case [service, version]:
                parts = [profile.project, profile.group, service, version]
            case [group, service, version]:
                parts = [profile.project, group, service, version]
        try:
            return ServiceVersion.parse("/".join(parts))
        except InvalidNameError as error:
            raise Failure(str(error), EXIT_USAGE) from None

    def get(self, path: str, **query: str) -> Any:
        """Return the JSON object of a GET. Raises Failure."""
        return self._object(self.request("GET", path, query=query))

    def readiness(self) -> str:
        """Return why the registry is not ready, "" if it is. Raises Failure."""
        try:
            return str(self._target.get("/readyz").json().get("reason", ""))
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, AttributeError) as error:
            raise self._unreachable(error) from None

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON object of a POST. Raises Failure."""
        return self._object(self.request("POST", path, json=dict(body)))

    def _object(self, response: httpx.Response) -> Any:
        try:
            tree = response.json()
        except ValueError as error:
            raise self._unreachable(error) from None
        if not isinstance(tree, dict):
            raise self._unreachable(TypeError("no object"))
        return _Answer(tree, self)

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Return a response of 2xx.

        Raises Failure: exit code 1 if the registry refuses, 4 if it does not answer as one.
        """
        own_headers = {"x-ase-author": _author(), **(headers or {})}
        try:
            with self._target.client(_TIMEOUT_S) as client:
                response = client.request(
                    method,
                    path,
                    params=dict(query or {}),
                    json=json,
                    content=content,
                    headers=own_headers,
                )
            if response.is_success:
                return response
            tree = response.json()
            lines = [tree["error"], *filter(None, [tree.get("cure")])]
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
            raise self._unreachable(error) from None
        raise Failure(printable("\n  ".join(lines)), EXIT_FAILED)

    def _unreachable(self, error: Exception) -> Failure:
        message = f"{self.url}: does not answer as a registry does ({error})"
        cure = "asectl setup says where it is; asectl registry runs one"
        return Failure(f"{message}; {cure}", EXIT_UNREACHABLE)


class _Answer(dict[str, Any]):
    """A JSON object of a registry; a member that is missing is one of another server."""

    def __init__(self, tree: Mapping[str, Any], client: RegistryApiClient) -> None:
        super().__init__(tree)
        self._client = client

    def __missing__(self, name: str) -> Any:
        raise self._client._unreachable(KeyError(name))  # noqa: SLF001 (of one module)


def version_path(name: ServiceVersion, rest: str = "") -> str:
    """Return the path of a version in the API; `rest` follows it."""
    return f"/v1/versions/{quote(str(name))}{'/' + rest if rest else ''}"


def file_path(name: ServiceVersion, file: str) -> str:
    """Return the path of a file of a version."""
    return version_path(name, f"files/{quote(file)}")


def _author() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
