"""Applications and models as they come and go: what other deployers subscribe to.

The store is the log: a reader goes on after the revision that it has seen last. When the store does
not have the changes since then any more, or the reader has seen nothing, it gets all there is,
between `snapshot_begin` and `snapshot_end`. The other verbs are those of MITLab's platform:
`application_add`, `application_update`, `application_delete`, `model_add`, `model_update`,
`model_delete`.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from deploy.event_stream import StreamedEvent
from deploy.positions.records import Application, Model, decode_record
from registry.store.interfaces import RecordChange, Store, StoreCompactedError

# Whether a reader may have what belongs to an application of a project.
Wants = Callable[[str, str], bool]


class _ForgottenError(Exception):
    """A change is about an application that is not there any more: whose it was is not known."""


class ModelFeed:
    """Follows the applications and models of a store for one reader.

    `_projects` has the project of each application, `_models` the keys of the models.
    """

    def __init__(self, store: Store, wants: Wants) -> None:
        self._store = store
        self._wants = wants
        self._projects: dict[str, str] = {}
        self._models: set[str] = set()

    async def follow(self, after: int) -> AsyncIterator[StreamedEvent]:
        """Yield what has changed after a revision, and all changes to come; 0: all there is first.

        Raises StoreError.
        """
        revision = after
        if after:
            await self._read()
        while True:
            if not revision:
                revision = await self._store.revision()
                yield StreamedEvent(0, "snapshot_begin", {})
                for event in await self._read():
                    yield event
                yield StreamedEvent(revision, "snapshot_end", {})
            try:
                async for change_set in self._store.watch(revision):
                    events = [e for change in change_set.changes for e in self._events_of(change)]
                    for event in events[:-1]:
                        yield event
                    for event in events[-1:]:  # a reader may go on when it has the whole change
                        yield event._replace(number=change_set.revision)
                    revision = change_set.revision
            except (StoreCompactedError, _ForgottenError):
                revision = 0

    async def _read(self) -> list[StreamedEvent]:
        """Read all applications and models; return them as events."""
        applications = await self._store.read(f"{Application.kind}/")
        models = await self._store.read(f"{Model.kind}/")
        self._projects, self._models = {}, set()
        changes = [RecordChange(key, entry.value) for key, entry in (applications | models).items()]
        return [event for change in changes for event in self._events_of(change)]

    def _events_of(self, change: RecordChange) -> Iterator[StreamedEvent]:
        """Yield what a change is to the reader, if it is about what that may have.

        Raises _ForgottenError.
        """
        kind, _, name = change.key.partition("/")
        if kind == Application.kind:
            event = self._application_event(name, change)
            application = name
        elif kind == Model.kind:
            event = self._model_event(name, change)
            application = name.partition("/")[0]
        else:
            return
        if application not in self._projects:
            raise _ForgottenError
        project = self._projects[application]
        if change.value is None and kind == Application.kind:
            del self._projects[name]
        if self._wants(application, project):
            yield event

    def _application_event(self, name: str, change: RecordChange) -> StreamedEvent:
        if change.value is None:
            return StreamedEvent(0, "application_delete", {"application": name})
        record = decode_record(change.key, change.value)
        assert isinstance(record, Application)  # noqa: S101 (by its key)
        verb = "application_update" if name in self._projects else "application_add"
        self._projects[name] = record.project
        tree = {"name": name, "project": record.project, "description": record.description}
        return StreamedEvent(0, verb, {"application": tree})

    def _model_event(self, name: str, change: RecordChange) -> StreamedEvent:
        application, _, model_id = name.partition("/")
        if change.value is None:
            self._models.discard(name)
            data = {"application": application, "model": model_id}
            return StreamedEvent(0, "model_delete", data)
        record = decode_record(change.key, change.value)
        assert isinstance(record, Model)  # noqa: S101 (by its key)
        verb = "model_update" if name in self._models else "model_add"
        self._models.add(name)
        return StreamedEvent(0, verb, {"model": model_to_json(record)})


def model_to_json(model: Model) -> dict[str, Any]:
    """Return the members that `Model.read` reads."""
    tree = {
        "name": model.name,
        "version": model.version,
        "application": model.application,
        "description": model.description,
        "accuracy": model.accuracy,
        "source": model.source,
        "accessToken": model.access_token,
        **model.members,
    }
    return {name: value for name, value in tree.items() if value not in ("", None)}
