"""Table of the commands, and their dispatch.

The module of a command is imported only when the command runs, so that help is fast.
"""

import argparse
import errno
import importlib
import os
import sys
from importlib.metadata import version
from typing import NoReturn

from schemas.model.suggestion import did_you_mean

COMMANDS = {
    "init": ("asectl.init", "write the files to begin with; --compose, --helm, --systemd"),
    "up": ("asectl.up", "run a gateway and loaders together; --demo brings three demo services"),
    "gateway": ("asectl.gateway", "run a gateway (WebGate, Atom and, by default, LB)"),
    "lb": ("asectl.lb", "run an LB hub in its own process"),
    "registry": ("asectl.registry.run", "run the registry of configuration and discovery"),
    "registry backup": ("asectl.registry.backup", "have a registry write a copy of its store"),
    "registry approval": ("asectl.registry.approval", "have releases need a second person"),
    "registry providers": ("asectl.registry.providers", "list providers; take one out, or back"),
    "lb state": ("asectl.lb_state", "show why each instance gets requests or not, and since when"),
    "drain": ("asectl.drain", "make a gateway unready, and wait until its requests have ended"),
    "eject": ("asectl.eject", "give an instance no requests for a time"),
    "uneject": ("asectl.uneject", "end the ejection of an instance, if it passes a check"),
    "upgrade": ("asectl.upgrade", "replace a gateway of this machine, without a lost request"),
    "reload": ("asectl.reload", "have a gateway read config, schemas and certificate again"),
    "explain": ("asectl.explain", "tell what happened to a failed or slow request, and why"),
    "record": ("asectl.record", "write down arrivals, picks, durations and reports of a gateway"),
    "replay": ("asectl.replay", "tell what recorded traffic would do by another policy or fleet"),
    "status": ("asectl.status", "list the processes of a cluster, and its services"),
    "top": ("asectl.top", "watch the instances: load, queue, own requests, health"),
    "loader run": ("asectl.loader", "serve a Wrapper: asectl loader run FILE:Class"),
    "loader test": ("asectl.loader_test", "run the cases of a Wrapper, here or at a loader"),
    "loader build": ("asectl.loader_build", "make the image of a Wrapper"),
    "loader dockerfile": ("asectl.loader_dockerfile", "print a Dockerfile for a Wrapper"),
    "loader schema": ("asectl.loader_schema", "print the schema document of a Wrapper"),
    "api create": ("asectl.api.create", "make schemas/schema_<id>.json from YAML or Python"),
    "api check": ("asectl.api.check", "list every error of schema files, with its position"),
    "api diff": ("asectl.api.diff", "list what changed between two schemas, and what breaks"),
    "api show": ("asectl.api.show", "print a schema: text, json, yaml, python, openapi, ..."),
    "api example": ("asectl.api.example", "print a valid request, and the curl line"),
    "api client": ("asectl.api.client", "print a typed client of a service"),
    "api web": ("asectl.api.web", "design an API in a browser, and save it"),
    "api list": ("asectl.api.list", "list the services of a gateway, or of a folder"),
    "config show": ("asectl.settings.show", "print the options, their values and origins"),
    "config check": ("asectl.settings.check", "list every error of ase.yaml and its schemas"),
    "config schema": ("asectl.settings.schema", "print the JSON Schema of ase.yaml, for editors"),
    "cluster status": ("asectl.cluster_status", "list what is registered, and whether it answers"),
    "config upload": ("asectl.releases.upload", "put files into the draft of a version"),
    "config edit": ("asectl.releases.edit", "change a file of a version in an editor"),
    "config list": ("asectl.releases.list", "list the versions in the registry, or files of one"),
    "config view": ("asectl.releases.view", "print a file of a version"),
    "config diff": ("asectl.releases.diff", "show what a release, or the draft, changes"),
    "config history": ("asectl.releases.history", "list releases, or all that was done"),
    "config publish": ("asectl.releases.publish", "release a draft to all, or to some"),
    "config gray": ("asectl.releases.gray", "promote or withdraw a gray release"),
    "config rollback": ("asectl.releases.rollback", "publish an earlier release again"),
    "config approve": ("asectl.releases.approve", "publish what somebody else proposed"),
    "config status": ("asectl.releases.status", "show who runs which release, and why not"),
    "deployer": ("asectl.deployer.run", "run the deployer, which brings models into service"),
    "deploy": ("asectl.deployments.apply", "deploy a model, or change it: asectl deploy FILE"),
    "deploy apply": ("asectl.deployments.apply", "the same as asectl deploy FILE"),
    "deploy plan": ("asectl.deployments.plan", "show what asectl deploy FILE would change"),
    "deploy status": ("asectl.deployments.status", "list deployments, or show how far one is"),
    "deploy logs": ("asectl.deployments.logs", "print what a replica has written"),
    "deploy scale": ("asectl.deployments.scale", "change the number of replicas"),
    "deploy promote": ("asectl.deployments.promote", "let a canary take all requests"),
    "deploy rollback": ("asectl.deployments.rollback", "return to the revision before"),
    "deploy delete": ("asectl.deployments.delete", "finish its requests, and end a deployment"),
    "project": ("asectl.positions.project", "create, list or delete projects"),
    "application": ("asectl.positions.application", "create, list or delete their applications"),
    "model": ("asectl.positions.model", "add, list or delete the models of an application"),
    "position create": ("asectl.positions.create", "put a model of an application into service"),
    "position status": ("asectl.positions.status", "list the positions, or show how one is"),
    "position switch": ("asectl.positions.switch", "have another model in a position"),
    "position scale": ("asectl.positions.scale", "change the number of replicas of a position"),
    "position usage": ("asectl.positions.usage", "show CPU, memory and load of a position"),
    "position delete": ("asectl.positions.delete", "finish its requests, and end a position"),
    "setup": ("asectl.setup", "keep where the registry is, our key, project and region"),
    "call": ("asectl.call", "call a service with a file, as the curl line does"),
    "key create": ("asectl.keys.create", "create an API key, or a pair for signatures"),
    "key list": ("asectl.keys.list", "list the keys: whose, for what, until when"),
    "key revoke": ("asectl.keys.revoke", "refuse a key from now on"),
    "key rotate": ("asectl.keys.rotate", "replace a key; the old one is valid for a while more"),
    "usage": ("asectl.usage", "sum up what callers used, by app, key, service or code"),
    "sign": ("asectl.sign", "sign a request by HMAC, or explain why a signed one is refused"),
    "kong render": ("asectl.kong.render", "print a declarative Kong file for an ase.yaml"),
    "kong check": ("asectl.kong.check", "list every error of a Kong file, with its line"),
    "kong diff": ("asectl.kong.diff", "list what kong push would change at a Kong"),
    "kong push": ("asectl.kong.push", "set up a running Kong by its Admin API"),
    "kong register": ("asectl.kong.register", "add a gateway to a running Kong, or take it back"),
    "kong drain": ("asectl.kong.drain", "take a gateway out of a running Kong"),
    "doctor": ("asectl.doctor.command", "check this machine, the config and a running gateway"),
    "completion": ("asectl.completion", "print the completion of a shell, for its start file"),
    "healthcheck": ("asectl.healthcheck", "exit 0 when a gateway is ready, or a loader serves"),
}

# Packages of the extra `gateway`: a loader is installed without them.
_GATEWAY_PACKAGES = ("httptools", "jiter", "pybase64", "starlette", "uvicorn", "websockets")

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CONFIG = 3
EXIT_UNREACHABLE = 4
EXIT_INTERRUPTED = 130


class Failure(Exception):  # noqa: N818 (ends a command; not a program error)
    """A command has failed: the message for the user, and the exit code `code`."""

    def __init__(self, message: str, code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.code = code


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: success, 1: failed, 2: usage, 3: configuration, 4: unreachable, 130: interrupted. A command
    may add its own (`api diff`: 6). Usage errors that argparse finds raise SystemExit(2).
    """
    argv = sys.argv[1:] if arguments is None else arguments
    if argv[:1] in (["--version"], ["version"]):
        print(f"asectl {version('athena-serving')}")
        return 0
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    name = _command_name(argv)
    if name is None:
        print(f"asectl: {_unknown_command(argv)}", file=sys.stderr)
        return EXIT_USAGE
    try:
        module = importlib.import_module(COMMANDS[name][0])
        parser = _CommandParser(f"asectl {name}", description=COMMANDS[name][1])
        module.add_arguments(parser)
        # Options may stand between positional arguments: `call SERVICE --url URL text=hello`.
        args = parser.parse_intermixed_args(argv[len(name.split()) :])
        code: int = module.run(args)
        sys.stdout.flush()
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] not in _GATEWAY_PACKAGES:
            raise
        cure = "pip install 'athena-serving[gateway]'"
        print(f"asectl: `asectl {name}` needs {error.name}: {cure}", file=sys.stderr)
        return EXIT_FAILED
    except Failure as failure:
        print(f"asectl: {failure}", file=sys.stderr)
        return failure.code
    except BrokenPipeError:  # the reader of stdout has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except OSError as error:
        print(f"asectl: {_describe_os_error(error)}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return code


def _command_name(argv: list[str]) -> str | None:
    for word_count in (2, 1):
        name = " ".join(argv[:word_count])
        if name in COMMANDS:
            return name
    return None


def _unknown_command(argv: list[str]) -> str:
    arguments = [argument for argument in argv[:2] if not argument.startswith("-")]
    candidates = [" ".join(arguments), *arguments[:1]]
    hints = [hint for name in candidates if (hint := did_you_mean(name, COMMANDS))]
    return f"unknown command {candidates[0]!r}; {[*hints, 'asectl --help lists them'][0]}"


class _CommandParser(argparse.ArgumentParser):
    """Reports a usage error in one line: the message and the cure, not the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Print the error and exit with 2."""
        cause, _, arguments = message.partition("unrecognized arguments: ")
        if arguments and not cause:
            unknown = next((flag for flag in arguments.split() if flag.startswith("-")), "")
            flags = [flag for action in self._actions for flag in action.option_strings]
            # Without their section: `--port` for `--gateway-port`, the first that has it.
            aliases = {f"--{flag[2:].partition('-')[2]}": flag for flag in reversed(flags)}
            hint = did_you_mean(unknown.partition("=")[0], flags, aliases=aliases)
            message = f"{message}; {hint}" if hint else message
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n  {self.prog} --help lists the options\n")


def _usage() -> str:
    lines = ["usage: asectl COMMAND [options]   (asectl COMMAND --help lists them)", ""]
    lines += [f"  {name:<13} {description}" for name, (_, description) in COMMANDS.items()]
    return "\n".join(lines)


def _describe_os_error(error: OSError) -> str:
    """Return the reason why an address cannot be bound; for other errors, their own text."""
    host, separator, port = str(error.filename or "").rpartition(":")
    if not (separator and port.isdecimal()):
        return str(error)
    match error.errno:
        case errno.EADDRINUSE:
            from asectl.ports import describe_holder

            cure = "choose another port, or 0 for a free one"
            return f"{error.filename} is in use{describe_holder(int(port))}; {cure}"
        case errno.EADDRNOTAVAIL:
            return (
                f"{error.filename}: {host} is no address of this host; 0.0.0.0 or :: is every one"
            )
        case errno.EACCES:
            return f"{error.filename}: ports below 1024 need a privilege; choose a higher one"
    return f"{error.filename}: {error.strerror}"
