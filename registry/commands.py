"""What a command changes: from the state and the command to one transaction. Pure.

Every transaction expects the revisions that its decision was made from: of two that decide at the
same time, the store refuses the second, and it is decided again from the new state. Every one adds
an entry to the audit log, so that none can be made without it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from registry import keys
from registry.errors import Refusal, RegistryError
from registry.names import ServiceVersion, check_file_name
from registry.records import (
    MAX_FILES,
    AuditEntry,
    Draft,
    FileRef,
    GrayRelease,
    GrayRule,
    PendingRelease,
    ProviderOverride,
    Publication,
    Release,
    files_digest,
)
from registry.state import RegistryState
from registry.store.interfaces import Transaction

_ANY_TAG: Final = "*"
AUDIT_PREFIX: Final = keys.AUDIT
# The keys that the state is made of: all but the audit log.
# Publications before releases: whoever reads them in this order has every release that is seen.
STATE_PREFIXES: Final = (keys.DRAFT, keys.PUBLICATION, keys.RELEASE, keys.PROJECT, keys.PROVIDER)


@dataclass(frozen=True, slots=True)
class Author:
    """Who gives a command, and when (Unix time). `nonce` tells commands of one time apart.

    `name` is for people to read, `identity` what is proved: a key.
    """

    name: str
    at: float
    nonce: str
    identity: str


def draft_files(state: RegistryState, name: ServiceVersion) -> Mapping[str, FileRef]:
    """Return the files that the next release would have: the draft's, else the stable ones."""
    draft, _ = state.draft(name)
    if draft is not None:
        return draft.files
    release = state.release(name, state.publication(name)[0].stable)
    return release.files if release is not None else {}


def put_file(
    state: RegistryState,
    author: Author,
    name: ServiceVersion,
    file_name: str,
    ref: FileRef,
    if_match: str | None = None,
) -> Transaction:
    """Add a file to the draft, or replace it.

    `if_match` is the digest that the file must have now, "" if there must be none; None: whatever
    it has. Raises RegistryError CONFLICT if it has another one, as after another editor's change.
    """
    check_file_name(file_name)
    files = dict(draft_files(state, name))
    _check_tag(files.get(file_name), if_match, file_name)
    _check_place(file_name, files)
    files[file_name] = ref
    if len(files) > MAX_FILES:
        raise RegistryError(Refusal.TOO_LARGE, f"{name}: at most {MAX_FILES} files")
    return _edit(state, author, name, files, f"put {file_name} {ref.digest[:12]}")


def delete_file(
    state: RegistryState,
    author: Author,
    name: ServiceVersion,
    file_name: str,
    if_match: str | None = None,
) -> Transaction:
    """Remove a file from the draft. Raises RegistryError NOT_FOUND or CONFLICT."""
    files = dict(draft_files(state, name))
    if file_name not in files:
        raise RegistryError(Refusal.NOT_FOUND, f"{name}: no file {file_name!r}")
    _check_tag(files.pop(file_name), if_match, file_name)
    return _edit(state, author, name, files, f"delete {file_name}")


def discard_draft(state: RegistryState, author: Author, name: ServiceVersion) -> Transaction:
    """Forget what was edited since the last release. Raises RegistryError NOT_FOUND."""
    draft, revision = state.draft(name)
    if draft is None:
        raise RegistryError(Refusal.NOT_FOUND, f"{name}: there is no draft")
    key = keys.draft_key(name)
    return _audited(author, "discard", str(name), "", {}, frozenset([key]), {key: revision})


def publish(
    state: RegistryState,
    author: Author,
    name: ServiceVersion,
    comment: str,
    rule: GrayRule | None = None,
    digest: str = "",
) -> Transaction:
    """Make the draft a release, and show it to all, or by a rule to some (a gray release).

    `digest` is that of the files that the author has seen, "" for whatever they are. In a project
    with approval it waits for a second person instead. Raises RegistryError PRECONDITION if nothing
    was edited, or if a gray or a waiting release must be decided first; CONFLICT if the draft was
    edited since.
    """
    draft, _ = state.draft(name)
    if draft is not None and digest and files_digest(draft.files) != digest:
        message = f"{name}: somebody else has edited the draft"
        raise RegistryError(Refusal.CONFLICT, message, "look at it again, and publish it then")
    publication, _ = state.publication(name)
    stable = state.release(name, publication.stable)
    if draft is None or (stable is not None and files_digest(draft.files) == stable.digest):
        raise RegistryError(
            Refusal.PRECONDITION,
            f"{name}: nothing was edited since release {publication.stable}",
            "edit or upload a file first",
        )
    if not draft.files:
        raise RegistryError(Refusal.PRECONDITION, f"{name}: the draft has no files")
    return _release(state, author, name, draft.files, comment, rule, 0)


def roll_back(
    state: RegistryState, author: Author, name: ServiceVersion, number: int, comment: str
) -> Transaction:
    """Publish the files of an earlier release again, as a new release. 0: of the one before.

    A draft stays as it is. Raises RegistryError NOT_FOUND or PRECONDITION.
    """
    publication, _ = state.publication(name)
    if not number:
        number = _previous(state, name, publication)
    earlier = state.release(name, number)
    if earlier is None:
        raise RegistryError(Refusal.NOT_FOUND, f"{name}: no release {number}")
    stable = state.release(name, publication.stable)
    if stable is not None and stable.digest == earlier.digest and publication.gray is None:
        raise RegistryError(
            Refusal.PRECONDITION, f"{name}: release {publication.stable} has the files of {number}"
        )
    text = comment or f"roll back to release {number}"
    return _release(state, author, name, earlier.files, text, None, number)


def promote(state: RegistryState, author: Author, name: ServiceVersion) -> Transaction:
    """Show the gray release to all. Raises RegistryError PRECONDITION without one."""
    publication, _ = state.publication(name)
    gray = _gray(name, publication)
    _check_second_person(state, author, name, gray)
    promoted = replace(publication, stable=gray.release, gray=None, since=author.at)
    return _republish(state, author, name, promoted, "promote", f"release {gray.release}")


def withdraw(state: RegistryState, author: Author, name: ServiceVersion) -> Transaction:
    """End the gray release: those that see it return to the stable one.

    Raises RegistryError PRECONDITION without one.
    """
    publication, _ = state.publication(name)
    gray = _gray(name, publication)
    detail = f"release {gray.release}"
    return _republish(state, author, name, replace(publication, gray=None), "withdraw", detail)


def change_rule(
    state: RegistryState, author: Author, name: ServiceVersion, rule: GrayRule
) -> Transaction:
    """Show the gray release to other instances. Raises RegistryError PRECONDITION or INVALID."""
    publication, _ = state.publication(name)
    gray = _gray(name, publication)
    _check_rule(rule)
    _check_second_person(state, author, name, gray)
    changed = replace(publication, gray=replace(gray, rule=rule))
    return _republish(state, author, name, changed, "gray", f"release {gray.release} to {rule}")


def approve(state: RegistryState, author: Author, name: ServiceVersion) -> Transaction:
    """Publish the release that waits. Raises RegistryError PRECONDITION or FORBIDDEN.

    Who has published it cannot approve it.
    """
    publication, _ = state.publication(name)
    pending = _pending(name, publication)
    if pending.identity == author.identity:
        raise RegistryError(
            Refusal.FORBIDDEN,
            f"{name}: release {pending.release} needs the approval of somebody else",
        )
    proposer = replace(author, name=pending.author, identity=pending.identity)
    shown = _show(replace(publication, pending=None), pending.release, pending.rule, proposer)
    return _republish(state, author, name, shown, "approve", f"release {pending.release}")


def reject(state: RegistryState, author: Author, name: ServiceVersion) -> Transaction:
    """Give up the release that waits for approval. Raises RegistryError PRECONDITION."""
    publication, _ = state.publication(name)
    pending = _pending(name, publication)
    release = state.release(name, pending.release)
    key, (draft, revision) = keys.draft_key(name), state.draft(name)
    puts = {}
    if draft is None and release is not None and not release.restores:
        # What was proposed can be edited, and proposed again.
        record = Draft(publication.stable, release.files, pending.author, author.at)
        puts[key] = record.to_bytes()
    detail = f"release {pending.release}"
    rejected = replace(publication, pending=None)
    return _republish(
        state, author, name, rejected, "reject", detail, puts=puts, expected={key: revision}
    )


def set_retired(
    state: RegistryState, author: Author, name: ServiceVersion, *, retired: bool
) -> Transaction:
    """Take a version out of service, or bring it back. Raises RegistryError PRECONDITION."""
    publication, revision = state.publication(name)
    if not revision or publication.retired == retired:
        state_name = "retired" if retired else "in service"
        raise RegistryError(Refusal.PRECONDITION, f"{name}: it is {state_name}, or has no release")
    changed = replace(publication, retired=retired)
    return _republish(state, author, name, changed, "retire" if retired else "restore", "")


def set_approval(
    state: RegistryState, author: Author, project: str, *, approval: bool
) -> Transaction:
    """Have the releases of a project need a second person, or not."""
    settings, revision = state.settings(project)
    key = keys.project_key(project)
    record = replace(settings, approval=approval).to_bytes()
    detail = "on" if approval else "off"
    return _audited(
        author, "approval", project, detail, {key: record}, frozenset(), {key: revision}
    )


def override_provider(
    state: RegistryState,
    author: Author,
    name: ServiceVersion,
    address: str,
    override_state: str,
    comment: str,
) -> Transaction:
    """Set a provider `offline` or `isolated`, or `online`, as it registered itself.

    Raises RegistryError INVALID or PRECONDITION.
    """
    override, revision = state.override(name, address)
    key = keys.provider_key(name, address)
    subject = f"{name}/{address}"
    if override_state == "online":
        if override is None:
            raise RegistryError(Refusal.PRECONDITION, f"{subject}: no operator has taken it out")
        return _audited(author, "online", subject, comment, {}, frozenset([key]), {key: revision})
    if override_state not in ("offline", "isolated"):
        raise RegistryError(
            Refusal.INVALID, f"{override_state!r} is not online, offline or isolated"
        )
    record = ProviderOverride(override_state, author.name, comment, author.at).to_bytes()
    return _audited(
        author, override_state, subject, comment, {key: record}, frozenset(), {key: revision}
    )


def _edit(
    state: RegistryState,
    author: Author,
    name: ServiceVersion,
    files: Mapping[str, FileRef],
    detail: str,
) -> Transaction:
    draft, revision = state.draft(name)
    base = draft.base if draft is not None else state.publication(name)[0].stable
    record = Draft(base, files, author.name, author.at).to_bytes()
    key = keys.draft_key(name)
    return _audited(author, "edit", str(name), detail, {key: record}, frozenset(), {key: revision})


def _release(
    state: RegistryState,
    author: Author,
    name: ServiceVersion,
    files: Mapping[str, FileRef],
    comment: str,
    rule: GrayRule | None,
    restores: int,
) -> Transaction:
    """Make a release of files, and show it; a draft is used up unless it is a rollback."""
    publication, _ = state.publication(name)
    if publication.pending is not None:
        message = f"{name}: release {publication.pending.release} waits for approval"
        raise RegistryError(Refusal.PRECONDITION, message, "approve or reject it first")
    if rule is not None:
        _check_rule(rule)
        if publication.gray is not None:
            message = f"{name}: release {publication.gray.release} is gray"
            raise RegistryError(Refusal.PRECONDITION, message, "promote or withdraw it first")
        if not publication.stable:
            message = f"{name}: a first release is for all"
            raise RegistryError(Refusal.PRECONDITION, message, "publish it without a rule")
    number = publication.last_number + 1
    digest = files_digest(files)
    release = Release(number, files, digest, author.name, comment, author.at, restores)
    numbered = replace(publication, last_number=number)
    if state.settings(name.project)[0].approval:
        shown = replace(
            numbered, pending=PendingRelease(number, rule, author.name, author.identity)
        )
        action = "propose"
    else:
        shown = _show(numbered, number, rule, author)
        action = "gray" if rule else "roll back" if restores else "publish"
    draft, draft_revision = state.draft(name)
    deletes = frozenset([keys.draft_key(name)]) if draft is not None and not restores else ()
    detail = f"release {number}{f' to {rule}' if rule else ''}: {comment}"
    expected = {keys.release_key(name, number): 0, keys.draft_key(name): draft_revision}
    return _republish(
        state, author, name, shown, action, detail,
        puts={keys.release_key(name, number): release.to_bytes()},
        deletes=frozenset(deletes),
        expected=expected,
    )  # fmt: skip


def _show(
    publication: Publication, number: int, rule: GrayRule | None, author: Author
) -> Publication:
    """Return the publication that shows a release to all, or by a rule to some."""
    if rule is None:
        return replace(publication, stable=number, gray=None, since=author.at)
    return replace(
        publication, gray=GrayRelease(number, rule, author.name, author.at, author.identity)
    )


def _republish(
    state: RegistryState,
    author: Author,
    name: ServiceVersion,
    publication: Publication,
    action: str,
    detail: str,
    *,
    puts: Mapping[str, bytes] | None = None,
    deletes: frozenset[str] = frozenset(),
    expected: Mapping[str, int] | None = None,
) -> Transaction:
    """Return the transaction that changes a publication, with further changes of its own."""
    key = keys.publication_key(name)
    _, revision = state.publication(name)
    return _audited(
        author,
        action,
        str(name),
        detail,
        {key: publication.to_bytes(), **(puts or {})},
        deletes,
        {key: revision, **(expected or {})},
    )


def _audited(
    author: Author,
    action: str,
    subject: str,
    detail: str,
    puts: Mapping[str, bytes],
    deletes: frozenset[str],
    expected: Mapping[str, int],
) -> Transaction:
    """Return a transaction that writes down who made it."""
    entry = AuditEntry(author.at, author.name, action, subject, detail)
    key = keys.audit_key(author.at, author.nonce)
    return Transaction({**puts, key: entry.to_bytes()}, deletes, {**expected, key: 0})


def _check_tag(ref: FileRef | None, if_match: str | None, file_name: str) -> None:
    digest = ref.digest if ref is not None else ""
    if if_match is None or if_match == digest or (if_match == _ANY_TAG and ref is not None):
        return
    message = (
        f"{file_name}: somebody else has changed it; it is {digest[:12] or 'deleted'} now"
        if if_match
        else f"{file_name}: it exists"
    )
    raise RegistryError(Refusal.CONFLICT, message, "read it again, and make the change there")


def _check_place(file_name: str, files: Mapping[str, FileRef]) -> None:
    """Raise RegistryError INVALID for a file that is a folder of others, or below one."""
    folders = {"schemas"}  # those of other services are there, at gateways
    for other in files:
        parts = other.split("/")
        folders |= {"/".join(parts[:count]) for count in range(1, len(parts))}
    parts = file_name.split("/")
    parents = {"/".join(parts[:count]) for count in range(1, len(parts))}
    if file_name in folders or parents & files.keys():
        raise RegistryError(Refusal.INVALID, f"{file_name}: a file of that name would be a folder")


def _check_second_person(
    state: RegistryState, author: Author, name: ServiceVersion, gray: GrayRelease
) -> None:
    """Raise RegistryError FORBIDDEN if who made a gray release shows it to more, with approval."""
    if state.settings(name.project)[0].approval and gray.identity == author.identity:
        raise RegistryError(
            Refusal.FORBIDDEN,
            f"{name}: somebody else has to show release {gray.release} to others",
        )


def _check_rule(rule: GrayRule) -> None:
    if rule.is_empty():
        raise RegistryError(
            Refusal.INVALID,
            "a gray release needs labels, addresses or a percentage above 0",
        )
    if not 0 <= rule.percentage <= 100:
        raise RegistryError(Refusal.INVALID, f"{rule.percentage:g} % is not between 0 and 100")


def _gray(name: ServiceVersion, publication: Publication) -> GrayRelease:
    if publication.gray is None:
        raise RegistryError(Refusal.PRECONDITION, f"{name}: there is no gray release")
    return publication.gray


def _pending(name: ServiceVersion, publication: Publication) -> PendingRelease:
    if publication.pending is None:
        raise RegistryError(Refusal.PRECONDITION, f"{name}: no release waits for approval")
    return publication.pending


def _previous(state: RegistryState, name: ServiceVersion, publication: Publication) -> int:
    """Return the newest release before the stable one whose files differ. Raises RegistryError."""
    stable = state.release(name, publication.stable)
    for release in state.releases(name):
        if stable is None:
            break
        if release.number < stable.number and release.digest != stable.digest:
            return release.number
    raise RegistryError(Refusal.PRECONDITION, f"{name}: there is no release before")
