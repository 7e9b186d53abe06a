"""`asectl deploy status [ID]`: list the deployments, or show how far one is."""

import argparse

from asectl.deployments.api import DeployerClient, add_deployer_arguments
from asectl.deployments.progress import status_lines, step_lines
from asectl.main import EXIT_FAILED
from asectl.output import add_output_argument, print_output
from asectl.table import align


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's flags."""
    parser.add_argument("id", metavar="ID", nargs="?", help="a deployment (all of them)")
    add_output_argument(parser)
    add_deployer_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print it; return 1 if one of them has failed. Raises Failure."""
    client = DeployerClient.from_args(args)
    if args.id:
        shown = client.get(f"/{args.id}")
        pipeline = client.get(f"/{args.id}/pipeline")
        lines = [*step_lines(pipeline), *status_lines(shown)]
        print_output(args.output, shown, lines)
        return EXIT_FAILED if shown["status"] == "failed" else 0
    rows = client.get("/list")
    table = [["ID", "STATUS", "REPLICAS", "SERVICE", "REVISION", "UPDATED", "REASON"]]
    table += [
        [
            row["serviceId"],
            row["status"],
            str(row["replicaCount"]),
            row["service"] or "-",
            row["revision"] or "-",
            row["updateTime"] or "-",
            row["reason"].partition("\n")[0][:100],
        ]
        for row in rows
    ]
    lines = align(table) if rows else ["no deployments"]
    print_output(args.output, rows, lines)
    return EXIT_FAILED if any(row["status"] == "failed" for row in rows) else 0
