"""The changes that bring a running Kong to what `ase.yaml` says."""

import argparse

from asectl.kong.render import load_document
from asectl.main import Failure
from config.options import KongOptions
from deploy.kong.admin import KongState
from deploy.kong.document import tags
from deploy.kong.entities import Change, Entity, compare, find_conflicts, flatten


def load_entities(args: argparse.Namespace) -> tuple[KongOptions, list[Entity]]:
    """Return the options of the flags, and the entities that Kong is to have. Raises Failure."""
    config, document = load_document(args)
    return config.kong, flatten(document)


def plan(kong: KongOptions, entities: list[Entity], state: KongState) -> list[Change]:
    """Return the changes. Raises Failure if an entity of someone else has the name of one of ours.

    Such an entity is never touched.
    """
    changes = compare(entities, state.ours)
    conflicts = find_conflicts(changes, state.others)
    if conflicts:
        names = ", ".join(map(str, conflicts))
        raise Failure(
            f"Kong has {names} without the tag {tags(kong)[-1]}: not ours. Nothing is changed. "
            "Choose another kong.name, or add the tag to what is ours"
        )
    return changes
