"""The changes that bring a running Kong to what `ase.yaml` says."""

import argparse

from asectl.kong import admin
from asectl.kong.render import load_document
from config.options import KongOptions
from deploy.kong.admin import KongState
from deploy.kong.entities import Change, Entity, compare, flatten


def load_entities(args: argparse.Namespace) -> tuple[KongOptions, list[Entity]]:
    """Return the options of the flags, and the entities that Kong is to have. Raises Failure."""
    config, document = load_document(args)
    return config.kong, flatten(document)


def plan(kong: KongOptions, entities: list[Entity], state: KongState) -> list[Change]:
    """Return the changes. Raises Failure as `admin.check_conflicts`."""
    changes = compare(entities, state.ours)
    admin.check_conflicts(kong, changes, state)
    return changes


def summarize(changes: list[Change]) -> str:
    """Return how many changes there are, for people."""
    if not changes:
        return "no change"
    return f"{len(changes)} change{'s' * (len(changes) != 1)}"
