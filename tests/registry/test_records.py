import json

import pytest

from registry.records import (
    AuditEntry,
    Draft,
    FileKind,
    FileRef,
    GrayRelease,
    GrayRule,
    PendingRelease,
    ProjectSettings,
    ProviderOverride,
    Publication,
    Release,
    content_digest,
    files_digest,
)
from tests.registry.documents import ref

FILES = {"ase.yaml": ref(b"a"), "schemas/x.json": ref(b"b", FileKind.SCHEMA)}
RULE = GrayRule({"region": "dx"}, ("10.0.0.1:8200",), 12.5)


@pytest.mark.parametrize(
    "record",
    [
        Draft(3, FILES, "ann", 1.5),
        Release(4, FILES, files_digest(FILES), "ann", "why: ü", 2.5, 2),
        Publication(4, 5, 1.0, GrayRelease(5, RULE, "ann", 2.0, "k1"), None),
        Publication(4, 5, 1.0, None, PendingRelease(5, RULE, "ann", "k1"), retired=True),
        Publication(4, 5, 1.0, None, PendingRelease(5, None, "ann")),
        ProjectSettings(approval=True),
        ProviderOverride("isolated", "bob", "disk", 9.0),
        AuditEntry(1.0, "ann", "publish", "shop/web/gateway/1.0.0", "release 1"),
    ],
)
def test_a_record_is_the_same_from_its_bytes(
    record: Draft | Release | Publication | ProjectSettings | ProviderOverride | AuditEntry,
) -> None:
    assert type(record).from_bytes(record.to_bytes()) == record
    assert isinstance(json.loads(record.to_bytes()), dict)


def test_the_digest_of_files_depends_on_names_contents_and_kinds() -> None:
    digests = {
        files_digest(files)
        for files in (
            {},
            {"a": ref(b"1")},
            {"b": ref(b"1")},
            {"a": ref(b"2")},
            {"a": ref(b"1", FileKind.SCHEMA)},
            {"a": ref(b"1"), "b": ref(b"1")},
        )
    }
    assert len(digests) == 6
    assert files_digest({"a": ref(b"1"), "b": ref(b"2")}) == files_digest(
        {"b": ref(b"2"), "a": ref(b"1")}
    )
    same_text = FileRef(content_digest(b"1"), 1, "application/json", FileKind.CONFIG)
    assert files_digest({"a": same_text}) == files_digest({"a": ref(b"1")})


@pytest.mark.parametrize(
    ("rule", "text", "is_empty"),
    [
        (GrayRule(), "", True),
        (GrayRule({"zone": "a", "region": "dx"}), "region=dx,zone=a", False),
        (GrayRule(addresses=("a:1", "b:2")), "a:1,b:2", False),
        (GrayRule(percentage=12.5), "12.5 %", False),
        (RULE, "region=dx or 10.0.0.1:8200 or 12.5 %", False),
    ],
)
def test_a_rule_is_described(rule: GrayRule, text: str, is_empty: bool) -> None:
    assert str(rule) == text
    assert rule.is_empty() is is_empty
