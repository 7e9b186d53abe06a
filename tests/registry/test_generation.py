import pytest

from registry import commands
from registry.generation import Subscription, decide_generation, meets_rule
from registry.names import ServiceVersion, VersionPattern
from registry.records import FileKind, GrayRule
from tests.registry.documents import NAME, Records, ref

OTHER = ServiceVersion("shop", "web", "image", "1.9")
NEWER = ServiceVersion("shop", "web", "image", "1.10")
PATTERNS = (
    VersionPattern.parse(str(NAME)),
    VersionPattern.parse("shop/web/*/*", schemas_only=True),
)


def subscription(instance: str = "gw-1", **labels: str) -> Subscription:
    return Subscription(instance, "10.0.0.1:8200", labels, PATTERNS)


def release(
    records: Records, name: ServiceVersion, rule: GrayRule | None = None, **files: str
) -> None:
    for file, text in files.items():
        kind = FileKind.SCHEMA if file.startswith("schema") else FileKind.CONFIG
        records.run(commands.put_file, name, file, ref(text.encode(), kind))
    records.run(commands.publish, name, "", rule)


def test_a_generation_has_the_own_files_and_the_schemas_of_others() -> None:
    records = Records()
    release(records, NAME, ase="1", schema_own="2")
    release(records, OTHER, notes="3", schema_image="4")
    release(records, ServiceVersion("shop", "app", "x", "1"), schema_x="5")  # another group
    generation = decide_generation(records.state, subscription())
    assert {r.name: sorted(r.files) for r in generation.releases} == {
        NAME: ["ase", "schema_own"],
        OTHER: ["schema_image"],
    }
    assert generation.revision == records.state.revision
    assert generation.number_of(OTHER) == 1
    assert generation.number_of(NEWER) == 0


def test_the_newest_version_in_service_counts() -> None:
    records = Records()
    release(records, OTHER, schema_image="1")
    release(records, NEWER, schema_image="2")
    assert decide_generation(records.state, subscription()).releases[0].name == NEWER
    records.run(commands.set_retired, NEWER, retired=True)
    assert decide_generation(records.state, subscription()).releases[0].name == OTHER


def test_without_a_release_a_generation_is_empty() -> None:
    records = Records()
    records.run(commands.put_file, NAME, "ase.yaml", ref(b"1"))
    assert decide_generation(records.state, subscription()).releases == ()


def test_the_digest_changes_with_what_is_to_be_run_alone() -> None:
    records = Records()
    release(records, NAME, ase="1")
    first = decide_generation(records.state, subscription()).digest
    records.run(commands.put_file, NAME, "ase", ref(b"2"))  # a draft
    release(records, ServiceVersion("shop", "web", "x", "1"), notes="1")  # no schema
    assert decide_generation(records.state, subscription()).digest == first
    records.run(commands.publish, NAME, "")
    assert decide_generation(records.state, subscription()).digest != first


def test_gray_instances_see_the_gray_release_and_return_when_it_is_withdrawn() -> None:
    records = Records()
    release(records, NAME, ase="1")
    release(records, NAME, GrayRule({"region": "dx"}), ase="2")
    stable, gray = subscription("a", region="hf"), subscription("b", region="dx")
    assert decide_generation(records.state, stable).number_of(NAME) == 1
    seen = decide_generation(records.state, gray)
    assert seen.number_of(NAME) == 2
    assert seen.releases[0].is_gray
    records.run(commands.withdraw, NAME)
    assert decide_generation(records.state, gray).number_of(NAME) == 1


@pytest.mark.parametrize(
    ("rule", "is_met"),
    [
        (GrayRule({"region": "dx"}), True),
        (GrayRule({"region": "dx", "zone": "b"}), False),
        (GrayRule({"region": "dx", "zone": "a"}), True),
        (GrayRule({"other": "x"}), False),
        (GrayRule(addresses=("10.0.0.1:8200",)), True),
        (GrayRule(addresses=("gw-1",)), True),
        (GrayRule(addresses=("gw-2",)), False),
        (GrayRule({"other": "x"}, ("gw-1",)), True),
        (GrayRule(percentage=100), True),
        (GrayRule(percentage=0), False),
    ],
)
def test_a_rule_is_met_by_any_of_its_conditions(rule: GrayRule, is_met: bool) -> None:
    instance = subscription("gw-1", region="dx", zone="a")
    assert meets_rule(rule, NAME, instance) is is_met


def test_a_percentage_is_a_share_that_only_grows() -> None:
    instances = [subscription(f"gw-{number}") for number in range(2000)]
    seen: set[str] = set()
    for percentage in (10, 25, 50, 100):
        now = {
            instance.instance
            for instance in instances
            if meets_rule(GrayRule(percentage=percentage), NAME, instance)
        }
        assert seen <= now
        assert abs(len(now) / len(instances) - percentage / 100) < 0.04
        seen = now
