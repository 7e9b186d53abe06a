"""The records of projects, applications, models and positions in the deployer's store.

A position and its deployment change in one transaction. Each decision is made from what was read,
and made again if somebody else was faster.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from deploy.engine import commands
from deploy.engine.commands import DeploymentConflictError, DeploymentNotFoundError
from deploy.engine.repository import DeploymentRepository
from deploy.positions.records import (
    Application,
    Model,
    Position,
    Project,
    Record,
    choose_best,
    decode_record,
    encode_record,
    model_key,
)
from deploy.workloads.spec import DeploymentSpec
from registry.store.interfaces import ConflictError, Store, Transaction

BEST: Final = "best"
_ATTEMPTS: Final = 20
_RETRY_DELAY_S: Final = 0.05

# Completes a specification by what the deployer has: its shimlet. May refuse it.
Complete = Callable[[DeploymentSpec], DeploymentSpec]
# Refuses a change that asks for too much.
Admit = Callable[[Transaction], None]


class PositionCatalog:
    """Reads and changes the records. `now` returns the Unix time.

    Methods raise StoreError; those that change something raise DeploymentNotFoundError for what
    there is none of, and DeploymentConflictError for what does not fit.
    """

    def __init__(
        self,
        store: Store,
        repository: DeploymentRepository,
        complete: Complete,
        admit: Admit,
        now: Callable[[], float],
    ) -> None:
        self._store = store
        self._repository = repository
        self._complete = complete
        self._admit = admit
        self.now = now

    async def records(self, kind: str) -> list[Any]:
        """Return all records of a kind, by their keys."""
        entries = await self._store.read(f"{kind}/")
        return [decode_record(key, entries[key].value) for key in sorted(entries)]

    async def positions(self) -> list[str]:
        """Return the names of all positions."""
        prefix = f"{Position.kind}/"
        return [key.removeprefix(prefix) for key in await self._store.read(prefix)]

    async def models_of(self, application: str) -> list[Model]:
        """Return the models of an application."""
        entries = await self._store.read(f"{Model.kind}/{application}/")
        return [decode_record(key, entries[key].value) for key in sorted(entries)]  # type: ignore[misc]

    async def get(self, key: str) -> tuple[Any, int]:
        """Return a record and its revision. Raises DeploymentNotFoundError."""
        entry = (await self._store.read(key)).get(key)
        if entry is None:
            kind, _, name = key.partition("/")
            raise DeploymentNotFoundError(f"there is no {kind} {name.rpartition('/')[2]!r}")
        return decode_record(key, entry.value), entry.revision

    async def project_of(self, application: str) -> str:
        """Return the project of an application."""
        record, _ = await self.get(f"{Application.kind}/{application}")
        return str(record.project)

    async def add(self, record: Project | Application | Model) -> None:
        """Add a record, whose parent has to be there.

        The parent is written too, as it is: one that is removed at this moment has changed then.
        """
        for _ in range(_ATTEMPTS):
            puts, expected = {record.key: encode_record(record)}, {record.key: 0}
            parent_key = _parent_key(record)
            if parent_key:
                parent, expected[parent_key] = await self.get(parent_key)
                puts[parent_key] = encode_record(parent)
            if isinstance(record, Model):
                await self._check_source(record)
            try:
                await self._store.commit(Transaction(puts, expected=expected))
            except ConflictError:
                if await self._store.get(record.key) is not None:
                    name = record.id if isinstance(record, Model) else record.name
                    raise DeploymentConflictError(
                        f"{record.kind} {name} is there already"
                    ) from None
                await asyncio.sleep(_RETRY_DELAY_S)
            else:
                return
        raise DeploymentConflictError("others change it all the time; try again")

    async def _check_source(self, model: Model) -> None:
        """Raise DeploymentNotFoundError if a model was trained from one that is not there."""
        ids = {each.id for each in await self.models_of(model.application)}
        if model.source and model.source not in ids:
            raise DeploymentNotFoundError(f"source: there is no model {model.source!r}")

    async def take_over(self, record: Application | Model, origin: str) -> None:
        """Add or change a record of another deployer, `origin`, and the project that it needs.

        Raises DeploymentConflictError if there is one of another origin.
        """
        if isinstance(record, Application):
            with contextlib.suppress(DeploymentConflictError):
                await self.add(Project(record.project, created_at=self.now()))
        else:
            await self.get(f"{Application.kind}/{record.application}")
        entry = await self._store.get(record.key)
        present = decode_record(record.key, entry.value) if entry is not None else None
        if isinstance(present, Application | Model) and present.origin != origin:
            raise DeploymentConflictError(f"{record.key} is there already, of another origin")
        expected = {record.key: entry.revision if entry is not None else 0}
        changed = encode_record(replace(record, origin=origin))
        try:
            await self._store.commit(Transaction({record.key: changed}, expected=expected))
        except ConflictError:
            raise DeploymentConflictError(f"{record.key} has just changed") from None

    async def remove(self, key: str) -> None:
        """Remove a project, an application or a model that nothing needs."""
        record, revision = await self.get(key)
        user = await self._find_user(record)
        if user:
            raise DeploymentConflictError(f"{user} needs it; delete that first")
        try:
            transaction = Transaction({}, frozenset({key}), {key: revision})
            await self._store.commit(transaction)
        except ConflictError:
            raise DeploymentConflictError(f"{key} has just changed; try again") from None

    async def create_position(self, position: Position, author: str) -> Position:
        """Put a model into service; return the position with the model that was chosen."""

        async def decide() -> tuple[Position, Transaction]:
            model, expected = await self._choose_model(position.application, position.model)
            chosen = replace(position, model=model.id)
            spec = self._complete(chosen.specification(model))
            entry = self._repository.get(spec.id)
            deployment = commands.create(entry, spec, author, self.now())
            return chosen, _join(deployment, chosen, model, {**expected, position.key: 0})

        if (await self._store.read(position.key)).get(position.key) is not None:
            raise DeploymentConflictError(f"position {position.name} is there already")
        return await self._commit(decide)

    async def switch(
        self, name: str, model_id: str, members: dict[str, Any], author: str
    ) -> Position:
        """Put another model into the place of the one that serves; `members` change with it."""

        async def decide() -> tuple[Position, Transaction]:
            position, revision = await self.get(f"{Position.kind}/{name}")
            model, expected = await self._choose_model(position.application, model_id)
            changed = replace(
                position,
                model=model.id,
                members={**position.members, **members},
                updated_at=self.now(),
            )
            spec = self._complete(changed.specification(model))
            entry = self._repository.get(name)
            present = entry.wanted.spec.replicas if entry.wanted is not None else spec.replicas
            if "replicaCount" not in members:
                spec = replace(spec, replicas=present)
            deployment = commands.update(entry, spec, author, self.now())
            return changed, _join(deployment, changed, model, {**expected, position.key: revision})

        return await self._commit(decide)

    async def scale(self, name: str, replicas: int, author: str) -> Position:
        """Change the number of replicas of a position."""

        async def decide() -> tuple[Position, Transaction]:
            position, revision = await self.get(f"{Position.kind}/{name}")
            entry = self._repository.get(name)
            deployment = commands.scale(entry, name, replicas, author, self.now())
            changed = replace(
                position,
                members={**position.members, "replicaCount": replicas},
                updated_at=self.now(),
            )
            return changed, _join(deployment, changed, None, {position.key: revision})

        return await self._commit(decide)

    async def delete_position(self, name: str, author: str) -> Position:
        """End a position: its deployment finishes its requests."""

        async def decide() -> tuple[Position, Transaction]:
            position, revision = await self.get(f"{Position.kind}/{name}")
            entry = self._repository.get(name)
            deployment = None
            if entry.wanted is not None:
                deployment = commands.delete(entry, name, author, self.now())
            transaction = deployment or Transaction()
            return position, Transaction(
                transaction.puts,
                frozenset({position.key}),
                {**transaction.expected, position.key: revision},
            )

        return await self._commit(decide)

    async def _commit(self, decide: Callable[[], Any]) -> Position:
        for _ in range(_ATTEMPTS):
            position, transaction = await decide()
            self._admit(transaction)
            try:
                await self._repository.commit(transaction)
            except ConflictError:
                await asyncio.sleep(_RETRY_DELAY_S)
                continue
            return position  # type: ignore[no-any-return]
        raise DeploymentConflictError("others change it all the time; try again")

    async def _choose_model(self, application: str, model_id: str) -> tuple[Model, dict[str, int]]:
        """Return a model of an application, `best` for the one with the highest accuracy.

        With the revisions of the records that were read for it.
        """
        _, application_revision = await self.get(f"{Application.kind}/{application}")
        if model_id == BEST:
            best = choose_best(await self.models_of(application))
            if best is None:
                raise DeploymentConflictError(f"no model of {application} declares an accuracy")
            model_id = best.id
        key = model_key(application, model_id)
        model, revision = await self.get(key)
        return model, {key: revision, f"{Application.kind}/{application}": application_revision}

    async def _find_user(self, record: Record) -> str:
        """Return what needs a record, "" if nothing does."""
        positions: list[Position] = await self.records(Position.kind)
        users: list[str] = []
        if isinstance(record, Project):
            applications: list[Application] = await self.records(Application.kind)
            users = [f"application {a.name}" for a in applications if a.project == record.name]
        elif isinstance(record, Application):
            users = [f"position {p.name}" for p in positions if p.application == record.name]
            users += [f"model {model.id}" for model in await self.models_of(record.name)]
        elif isinstance(record, Model):
            users = [
                f"position {p.name}"
                for p in positions
                if (p.application, p.model) == (record.application, record.id)
            ]
        return users[0] if users else ""


async def find_model_token(store: Store, deployment_id: str) -> str:
    """Return the token with which the file of a position's model is asked for, "" if none is.

    Of no other model: whoever knows only the URL of a file is not given it. Raises StoreError.
    """
    entry = await store.get(f"{Position.kind}/{deployment_id}")
    if entry is None:
        return ""
    position = decode_record(f"{Position.kind}/", entry.value)
    assert isinstance(position, Position)  # noqa: S101 (by its key)
    key = model_key(position.application, position.model)
    entry = await store.get(key)
    model = decode_record(key, entry.value) if entry is not None else None
    return model.access_token if isinstance(model, Model) else ""


def _parent_key(record: Project | Application | Model) -> str:
    """Return the key of what a record belongs to, "" if it is a project."""
    if isinstance(record, Application):
        return f"{Project.kind}/{record.project}"
    return f"{Application.kind}/{record.application}" if isinstance(record, Model) else ""


def _join(
    deployment: Transaction | None,
    position: Position,
    model: Model | None,
    expected: dict[str, int],
) -> Transaction:
    """Return the transaction that changes a position with its deployment.

    The model that it gets is written as it is: it cannot be removed at this moment.
    """
    transaction = deployment or Transaction()
    models = {model.key: encode_record(model)} if model is not None else {}
    return Transaction(
        {**transaction.puts, **models, position.key: encode_record(position)},
        transaction.deletes,
        {**transaction.expected, **expected},
    )
