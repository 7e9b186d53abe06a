from registry import keys
from tests.registry.documents import NAME


def test_keys_name_their_version_and_the_rest() -> None:
    assert keys.parse_version_key(keys.draft_key(NAME)) == (NAME, "")
    assert keys.parse_version_key(keys.publication_key(NAME)) == (NAME, "")
    assert keys.parse_version_key(keys.release_key(NAME, 12)) == (NAME, "00000012")
    assert keys.parse_version_key(keys.provider_key(NAME, "[::1]:8200")) == (NAME, "[::1]:8200")


def test_releases_and_audit_entries_sort_by_number_and_time() -> None:
    releases = [keys.release_key(NAME, number) for number in (2, 10, 100)]
    assert sorted(releases) == releases
    entries = [keys.audit_key(at, "ff") for at in (9.0, 10.0, 1_800_000_000.5)]
    assert sorted(entries) == entries
    assert keys.audit_key(1.0, "a") != keys.audit_key(1.0, "b")
