"""`asectl position create NAME`: put a model of an application into service."""

import argparse
from typing import Any

from asectl.deployments.api import add_deployer_arguments
from asectl.deployments.apply import add_wait_argument
from asectl.positions.client import position_client
from asectl.positions.progress import follow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("name", metavar="NAME", help="the position, and the id of its service")
    parser.add_argument("--application", required=True, help="whose model it runs")
    parser.add_argument(
        "--model", required=True, metavar="NAME:VERSION|best", help="best: the highest accuracy"
    )
    parser.add_argument("--replicas", type=int, default=1, metavar="N", help="how many (1)")
    parser.add_argument(
        "--max-replicas", type=int, default=0, metavar="N", help="scale by load up to N"
    )
    parser.add_argument("--cpu", default="", help="of a replica, as 2 or 500m")
    parser.add_argument("--memory", default="", help="of a replica, as 512Mi")
    parser.add_argument("--shimlet", default="", help="where it runs (the deployer's)")
    parser.add_argument("--description", default="", help="for people")
    add_wait_argument(parser)
    add_deployer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Create it and wait until it is in service. Raises Failure.

    Return 0 when it is, 1 if it is out of service, 5 if it takes longer than `--wait`.
    """
    body: dict[str, Any] = {
        "name": args.name,
        "application": args.application,
        "model": args.model,
        "description": args.description,
        "replicaCount": args.replicas,
    }
    resources = {
        name: value for name, value in (("cpu", args.cpu), ("memory", args.memory)) if value
    }
    if resources:
        body["resourceRequirements"] = resources
    if args.max_replicas:
        body["autoscale"] = {"minReplicas": args.replicas, "maxReplicas": args.max_replicas}
    if args.shimlet:
        body["shimlet"] = args.shimlet
    client = position_client(args)
    created = client.send("POST", "/positions", body)
    print(f"position {args.name} runs model {created['model']}")
    return follow(client, args.name, args.wait)
