"""How many instances one host may report."""

from lb.hub.peer_quota import PeerQuota

HERE, THERE = "ipv4:10.0.0.7:51234", "ipv4:10.0.0.8:51234"


def test_quota_counts_instances_by_host() -> None:
    quota = PeerQuota(2)
    quota.add(("ase", "ocr", "a:1"), HERE)
    quota.add(("ase", "ocr", "a:1"), HERE)
    assert not quota.is_reached(HERE), "it is the same instance"
    quota.add(("ase", "ocr", "a:2"), "ipv4:10.0.0.7:9")
    assert quota.is_reached(HERE), "another port is the same host"
    assert not quota.is_reached(THERE)


def test_an_instance_that_is_gone_leaves_its_place() -> None:
    quota = PeerQuota(1)
    quota.add(("ase", "ocr", "a:1"), HERE)
    quota.add(("ase", "ocr", "a:1"), THERE)  # known already: it stays with the first
    assert quota.is_reached(HERE)
    assert not quota.is_reached(THERE)
    quota.remove(("ase", "ocr", "a:1"))
    quota.remove(("ase", "ocr", "a:1"))
    assert not quota.is_reached(HERE)
