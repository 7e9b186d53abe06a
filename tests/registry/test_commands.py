from collections.abc import Callable

import pytest

from registry import commands, keys
from registry.errors import Refusal, RegistryError
from registry.names import InvalidNameError
from registry.records import MAX_FILES, AuditEntry, GrayRule, files_digest
from registry.store.interfaces import Transaction
from tests.registry.documents import NAME, Records, ref

HALF = GrayRule(percentage=50)


def publication(records: Records) -> tuple[int, int | None, int]:
    current, _ = records.state.publication(NAME)
    gray = current.gray.release if current.gray else None
    return current.stable, gray, current.last_number


def edited(*contents: bytes) -> Records:
    """Return a registry with a release of each content but the last, which is a draft."""
    records = Records()
    for index, content in enumerate(contents):
        records.run(commands.put_file, NAME, "ase.yaml", ref(content))
        if index < len(contents) - 1:
            records.run(commands.publish, NAME, f"release of {content!r}")
    return records


def refusal(records: Records, decide: Callable[..., Transaction], *arguments: object) -> Refusal:
    revision = records.state.revision
    with pytest.raises(RegistryError) as raised:
        records.run(decide, *arguments)
    assert records.state.revision == revision
    return raised.value.kind


def test_a_draft_becomes_a_release_and_is_used_up() -> None:
    records = edited(b"1")
    transaction = records.run(commands.publish, NAME, "first")
    assert publication(records) == (1, None, 1)
    release = records.state.release(NAME, 1)
    assert release is not None
    assert release.files == {"ase.yaml": ref(b"1")}
    assert (release.author, release.comment, release.restores) == ("ann", "first", 0)
    assert records.state.draft(NAME) == (None, 0)
    assert keys.draft_key(NAME) in transaction.deletes
    assert transaction.expected[keys.release_key(NAME, 1)] == 0


def test_a_draft_begins_with_the_files_of_the_stable_release() -> None:
    records = edited(b"1", b"2")
    records.run(commands.put_file, NAME, "more.txt", ref(b"3"))
    draft, _ = records.state.draft(NAME)
    assert draft is not None
    assert draft.base == 1
    assert draft.files == {"ase.yaml": ref(b"2"), "more.txt": ref(b"3")}
    records.run(commands.delete_file, NAME, "ase.yaml")
    assert set(commands.draft_files(records.state, NAME)) == {"more.txt"}


def test_of_two_editors_the_second_is_told() -> None:
    records = edited(b"1", b"2")
    seen = ref(b"2").digest
    records.run(commands.put_file, NAME, "ase.yaml", ref(b"3"), seen)
    assert (
        refusal(records, commands.put_file, NAME, "ase.yaml", ref(b"4"), seen) is Refusal.CONFLICT
    )
    assert refusal(records, commands.put_file, NAME, "ase.yaml", ref(b"4"), "") is Refusal.CONFLICT
    assert refusal(records, commands.delete_file, NAME, "ase.yaml", seen) is Refusal.CONFLICT
    records.run(commands.put_file, NAME, "ase.yaml", ref(b"4"), "*")
    records.run(commands.put_file, NAME, "new.txt", ref(b"5"), "")
    assert (
        refusal(records, commands.put_file, NAME, "other.txt", ref(b"5"), "*") is Refusal.CONFLICT
    )


@pytest.mark.parametrize(
    ("contents", "decide", "arguments", "kind"),
    [
        ((), commands.publish, ("",), Refusal.PRECONDITION),
        ((), commands.discard_draft, (), Refusal.NOT_FOUND),
        ((), commands.delete_file, ("ase.yaml",), Refusal.NOT_FOUND),
        ((), commands.roll_back, (1, ""), Refusal.NOT_FOUND),
        ((), commands.roll_back, (0, ""), Refusal.PRECONDITION),
        ((b"1",), commands.publish, ("", HALF), Refusal.PRECONDITION),
        ((b"1", b"1"), commands.publish, ("",), Refusal.PRECONDITION),
        ((b"1", b"2"), commands.publish, ("", GrayRule()), Refusal.INVALID),
        ((b"1", b"2"), commands.publish, ("", GrayRule(percentage=101)), Refusal.INVALID),
        ((b"1", b"2"), commands.promote, (), Refusal.PRECONDITION),
        ((b"1", b"2"), commands.withdraw, (), Refusal.PRECONDITION),
        ((b"1", b"2"), commands.change_rule, (HALF,), Refusal.PRECONDITION),
        ((b"1", b"2"), commands.approve, (), Refusal.PRECONDITION),
        ((b"1", b"2"), commands.reject, (), Refusal.PRECONDITION),
        ((b"1", b"2"), commands.roll_back, (1, ""), Refusal.PRECONDITION),
        ((b"1", b"2"), commands.roll_back, (9, ""), Refusal.NOT_FOUND),
        ((b"1", b"2"), commands.override_provider, ("a:1", "online", ""), Refusal.PRECONDITION),
        ((b"1", b"2"), commands.override_provider, ("a:1", "gone", ""), Refusal.INVALID),
    ],
)
def test_what_cannot_be_is_refused(
    contents: tuple[bytes, ...],
    decide: Callable[..., Transaction],
    arguments: tuple[object, ...],
    kind: Refusal,
) -> None:
    assert refusal(edited(*contents), decide, NAME, *arguments) is kind


def test_an_empty_draft_is_no_release() -> None:
    records = edited(b"1", b"2")
    records.run(commands.delete_file, NAME, "ase.yaml")
    assert refusal(records, commands.publish, NAME, "") is Refusal.PRECONDITION


def test_a_file_has_a_name_and_a_version_few_files() -> None:
    records = Records()
    with pytest.raises(InvalidNameError):
        records.run(commands.put_file, NAME, "../x", ref(b"1"))
    for number in range(MAX_FILES):
        records.run(commands.put_file, NAME, f"{number}.txt", ref(b"1"))
    assert refusal(records, commands.put_file, NAME, "x", ref(b"1")) is Refusal.TOO_LARGE


def test_a_gray_release_is_promoted_withdrawn_or_shown_to_others() -> None:
    records = edited(b"1", b"2")
    records.run(commands.publish, NAME, "second", HALF)
    assert publication(records) == (1, 2, 2)
    records.run(commands.change_rule, NAME, GrayRule({"zone": "a"}))
    gray = records.state.publication(NAME)[0].gray
    assert gray is not None
    assert gray.rule == GrayRule({"zone": "a"})
    records.run(commands.put_file, NAME, "ase.yaml", ref(b"3"))
    assert refusal(records, commands.publish, NAME, "", HALF) is Refusal.PRECONDITION
    records.run(commands.withdraw, NAME)
    assert publication(records) == (1, None, 2)
    records.run(commands.publish, NAME, "third", HALF)
    records.run(commands.promote, NAME)
    assert publication(records) == (3, None, 3)


def test_a_release_for_all_ends_a_gray_one() -> None:
    records = edited(b"1", b"2")
    records.run(commands.publish, NAME, "second", HALF)
    records.run(commands.put_file, NAME, "ase.yaml", ref(b"3"))
    records.run(commands.publish, NAME, "third")
    assert publication(records) == (3, None, 3)


def test_a_rollback_is_a_release_like_any_other_and_keeps_the_draft() -> None:
    records = edited(b"1", b"2", b"3", b"4")
    records.run(commands.roll_back, NAME, 1, "it was better")
    assert publication(records) == (4, None, 4)
    release = records.state.release(NAME, 4)
    assert release is not None
    assert release.files == {"ase.yaml": ref(b"1")}
    assert release.restores == 1
    assert commands.draft_files(records.state, NAME) == {"ase.yaml": ref(b"4")}
    records.run(commands.roll_back, NAME, 0, "")  # to the one before
    restored = records.state.release(NAME, 5)
    assert restored is not None
    assert restored.restores == 3
    assert restored.comment == "roll back to release 3"


def test_a_rollback_ends_a_gray_release() -> None:
    records = edited(b"1", b"2")
    records.run(commands.publish, NAME, "second", HALF)
    records.run(commands.roll_back, NAME, 1, "")
    assert publication(records) == (3, None, 3)


def test_with_approval_a_release_waits_for_somebody_else() -> None:
    records = edited(b"1", b"2")
    records.run(commands.set_approval, "shop", approval=True)
    records.run(commands.publish, NAME, "second", HALF)
    assert publication(records) == (1, None, 2)
    records.run(commands.put_file, NAME, "ase.yaml", ref(b"3"))
    assert refusal(records, commands.publish, NAME, "") is Refusal.PRECONDITION
    assert refusal(records, commands.approve, NAME) is Refusal.FORBIDDEN
    records.run(commands.approve, NAME, by="bob")
    assert publication(records) == (1, 2, 2)
    # What was approved for some is not shown to all by who has proposed it.
    assert refusal(records, commands.promote, NAME) is Refusal.FORBIDDEN
    assert refusal(records, commands.change_rule, NAME, GrayRule(percentage=99)) is (
        Refusal.FORBIDDEN
    )
    records.run(commands.promote, NAME, by="bob")
    records.run(commands.roll_back, NAME, 1, "")
    records.run(commands.reject, NAME, by="bob")
    assert publication(records) == (2, None, 3)
    records.run(commands.set_approval, "shop", approval=False)
    records.run(commands.publish, NAME, "third")
    assert publication(records) == (4, None, 4)


def test_a_version_is_retired_and_restored() -> None:
    records = edited(b"1", b"2")
    records.run(commands.set_retired, NAME, retired=True)
    assert records.state.publication(NAME)[0].retired
    with pytest.raises(RegistryError, match="retired"):
        records.run(commands.set_retired, NAME, retired=True)
    records.run(commands.set_retired, NAME, retired=False)
    assert not records.state.publication(NAME)[0].retired


def test_every_command_is_in_the_audit_log_and_expects_what_it_read() -> None:
    records = edited(b"1", b"2")
    records.run(commands.publish, NAME, "second", HALF)
    records.run(commands.withdraw, NAME)
    records.run(commands.override_provider, NAME, "a:1", "offline", "disk full")
    entries = []
    for transaction in records.transactions:
        audit_keys = [key for key in transaction.puts if key.startswith(keys.AUDIT)]
        assert len(audit_keys) == 1
        assert transaction.expected[audit_keys[0]] == 0
        entries.append(AuditEntry.from_bytes(transaction.puts[audit_keys[0]]))
        changed = {*transaction.puts, *transaction.deletes}
        assert changed <= transaction.expected.keys()
    assert [entry.action for entry in entries] == [
        "edit", "publish", "edit", "gray", "withdraw", "offline",
    ]  # fmt: skip
    assert entries[3].detail == "release 2 to 50 %: second"
    assert entries[5].subject == f"{NAME}/a:1"
    assert entries[5].detail == "disk full"


def test_what_was_rejected_can_be_edited_again() -> None:
    records = edited(b"1", b"2")
    records.run(commands.set_approval, "shop", approval=True)
    records.run(commands.publish, NAME, "second")
    assert records.state.draft(NAME)[0] is None
    records.run(commands.reject, NAME, by="bob")
    assert commands.draft_files(records.state, NAME) == {"ase.yaml": ref(b"2")}
    records.run(commands.publish, NAME, "again")
    records.run(commands.approve, NAME, by="bob")
    assert publication(records) == (3, None, 3)


def test_what_was_seen_is_what_is_published() -> None:
    records = edited(b"1", b"2")
    seen = files_digest(commands.draft_files(records.state, NAME))
    records.run(commands.put_file, NAME, "ase.yaml", ref(b"3"))
    assert refusal(records, commands.publish, NAME, "", None, seen) is Refusal.CONFLICT
    seen = files_digest(commands.draft_files(records.state, NAME))
    records.run(commands.publish, NAME, "", None, seen)
    assert publication(records) == (2, None, 2)


@pytest.mark.parametrize(
    ("present", "file"),
    [("a", "a/b"), ("a/b/c", "a"), ("a/b/c", "a/b"), ("x", "schemas"), ("a/b", "a/b/c/d")],
)
def test_a_file_is_no_folder(present: str, file: str) -> None:
    records = Records()
    records.run(commands.put_file, NAME, present, ref(b"1"))
    assert refusal(records, commands.put_file, NAME, file, ref(b"1")) is Refusal.INVALID
    records.run(commands.put_file, NAME, present, ref(b"2"))
    records.run(commands.put_file, NAME, "schemas/own.json", ref(b"2"))
