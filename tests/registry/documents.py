"""A registry in memory for tests: a state that commands are applied to, as a store would."""

from collections.abc import Callable

from registry.commands import Author
from registry.names import ServiceVersion
from registry.records import FileKind, FileRef, content_digest
from registry.state import RegistryState
from registry.store.interfaces import Transaction

NAME = ServiceVersion("shop", "web", "gateway", "1.0.0")


def ref(content: bytes, kind: FileKind = FileKind.CONFIG) -> FileRef:
    """Return the reference of a content."""
    return FileRef(content_digest(content), len(content), "text/plain", kind)


class Records:
    """A state, and the transactions that made it. Each command is one second after the other."""

    def __init__(self) -> None:
        self.state = RegistryState()
        self.transactions: list[Transaction] = []

    def run(
        self,
        decide: Callable[..., Transaction],
        *arguments: object,
        by: str = "ann",
        **named: object,
    ) -> Transaction:
        """Decide a command and apply its transaction."""
        revision = self.state.revision + 1
        author = Author(by, float(revision), f"{revision:x}", by)
        transaction = decide(self.state, author, *arguments, **named)
        changes = [*transaction.puts.items(), *((key, None) for key in transaction.deletes)]
        self.state.apply(changes, revision)
        self.transactions.append(transaction)
        return transaction
