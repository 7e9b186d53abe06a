from registry import commands, keys
from registry.records import GrayRule
from registry.state import RegistryState
from registry.store.interfaces import Entry
from tests.registry.documents import NAME, Records, ref


def build() -> Records:
    records = Records()
    records.run(commands.put_file, NAME, "ase.yaml", ref(b"1"))
    records.run(commands.publish, NAME, "first")
    records.run(commands.put_file, NAME, "ase.yaml", ref(b"2"))
    records.run(commands.publish, NAME, "second", GrayRule(percentage=50))
    records.run(commands.set_approval, "shop", approval=True)
    records.run(commands.override_provider, NAME, "a:1", "isolated", "slow")
    return records


def test_a_state_of_all_records_equals_that_of_all_transactions() -> None:
    records = build()
    entries: dict[str, Entry] = {}
    for revision, transaction in enumerate(records.transactions, 1):
        entries |= {k: Entry(v, revision) for k, v in transaction.puts.items()}
        entries = {k: e for k, e in entries.items() if k not in transaction.deletes}
    loaded = RegistryState.load(entries, len(records.transactions))
    state = records.state
    assert loaded.revision == state.revision
    assert loaded.versions() == state.versions() == [NAME]
    assert loaded.publication(NAME) == state.publication(NAME)
    assert loaded.releases(NAME) == state.releases(NAME)
    assert loaded.settings("shop") == state.settings("shop")
    assert loaded.override(NAME, "a:1") == state.override(NAME, "a:1")
    assert loaded.draft(NAME) == state.draft(NAME) == (None, 0)


def test_a_change_of_a_publication_is_told_to_its_subscribers_alone() -> None:
    records = Records()
    edit = records.run(commands.put_file, NAME, "ase.yaml", ref(b"1"))
    assert records.state.apply(edit.puts.items(), 2) == set()
    publish = records.run(commands.publish, NAME, "first")
    assert records.state.apply(publish.puts.items(), 4) == {NAME}


def test_contents_of_drafts_and_releases_are_referenced() -> None:
    records = build()
    records.run(commands.put_file, NAME, "more.txt", ref(b"3"))
    expected = {ref(content).digest for content in (b"1", b"2", b"3")}
    # A draft begins from the stable release, which has "1".
    assert records.state.referenced_contents() == expected


def test_deleted_records_are_forgotten() -> None:
    records = build()
    records.run(commands.put_file, NAME, "ase.yaml", ref(b"3"))
    records.run(commands.discard_draft, NAME)
    records.run(commands.override_provider, NAME, "a:1", "online", "")
    assert records.state.draft(NAME) == (None, 0)
    assert records.state.override(NAME, "a:1") == (None, 0)
    records.state.apply([(keys.publication_key(NAME), None), (keys.project_key("shop"), None)], 99)
    assert records.state.publication(NAME)[1] == 0
    assert not records.state.settings("shop")[0].approval
