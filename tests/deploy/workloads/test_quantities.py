"""Quantities as Kubernetes writes them."""

import pytest

from deploy.workloads.quantities import cpu_text, memory_text, parse_cpu, parse_memory


@pytest.mark.parametrize(
    ("text", "cpus"), [("2", 2.0), ("0.5", 0.5), ("500m", 0.5), ("1500m", 1.5), ("0", 0.0)]
)
def test_cpus(text: str, cpus: float) -> None:
    assert parse_cpu(text) == cpus
    assert parse_cpu(cpu_text(cpus)) == cpus


@pytest.mark.parametrize(
    ("text", "size"),
    [("512Mi", 2**29), ("16Gi", 2**34), ("2G", 2 * 10**9), ("1k", 1000), ("123", 123),
     ("1.5Gi", 3 * 2**29), ("0", 0)],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_memory(text) == size
    assert parse_memory(memory_text(size)) == size


@pytest.mark.parametrize("text", ["", "-1", "1e3", "x", "1 ", "5M5", "1" * 20, "500µ"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no number of CPUs"):
        parse_cpu(text)
    if text != "5M":
        with pytest.raises(ValueError, match="is no size"):
            parse_memory(text)


def test_texts_are_short() -> None:
    assert [cpu_text(2.0), cpu_text(0.25)] == ["2", "250m"]
    assert [memory_text(2**34), memory_text(1000), memory_text(3 * 2**20)] == [
        "16Gi",
        "1000",
        "3Mi",
    ]
