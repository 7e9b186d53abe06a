"""Several workers look like one gateway: what is added up, and what they all see alike."""

import pytest

from gateway.telemetry.multiprocess import merge_explanations, merge_metrics, merge_states


def exposition(name: str, kind: str, *samples: str) -> str:
    return f"# HELP {name} Help.\n# TYPE {name} {kind}\n" + "".join(f"{s}\n" for s in samples)


@pytest.mark.parametrize(
    ("name", "merged"), [("ase_requests", 5.0), ("ase_lb_instances", 3.0), ("ase_inflight", 5.0)]
)
def test_values_are_added_unless_all_workers_see_the_same(name: str, merged: float) -> None:
    texts = [exposition(name, "gauge", f'{name}{{a="b"}} {value}') for value in (2, 3)]
    (family,) = merge_metrics(texts)
    (sample,) = family.samples
    assert (sample.labels, sample.value) == ({"a": "b"}, merged)


def test_series_of_one_worker_alone_are_kept() -> None:
    texts = [
        exposition("x", "gauge", 'x{a="1"} 1', 'x{a="2"} 2'),
        exposition("x", "gauge", 'x{a="2"} 5') + exposition("y", "gauge", "y 1"),
    ]
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in merge_metrics(texts)
        for sample in family.samples
    }
    assert values == {("x", "1"): 1.0, ("x", "2"): 7.0, ("y",): 1.0}


def test_histograms_are_added_bucket_by_bucket() -> None:
    text = exposition(
        "h", "histogram", 'h_bucket{le="1.0"} 1', 'h_bucket{le="+Inf"} 2', "h_count 2", "h_sum 3.5"
    )
    (family,) = merge_metrics([text, text])
    assert family.type == "histogram"
    assert [sample.value for sample in family.samples] == [2.0, 4.0, 4.0, 7.0]


def row(instance: str, inflight: int) -> dict[str, object]:
    return {"service": "ocr", "instance": instance, "inflight": inflight}


def test_state_is_that_of_the_first_worker_with_the_requests_of_all() -> None:
    states = [
        {"instances": [row("a:1", 1), row("b:1", 0)]},
        {"instances": [row("a:1", 2), row("unknown:1", 9)]},
    ]
    assert merge_states(states) == {"instances": [row("a:1", 3), row("b:1", 0)]}


def test_state_without_workers_is_empty() -> None:
    assert merge_states([]) == {"instances": []}


def test_explanations_of_all_workers_are_listed_latest_first() -> None:
    answers = [
        {"requests": [{"ended": "2", "sid": "b"}], "kept": 5, "skipped": 1},
        {
            "requests": [{"ended": "3", "sid": "c"}, {"ended": "1", "sid": "a"}],
            "kept": 5,
            "skipped": 2,
        },
    ]
    merged = merge_explanations(answers)
    assert [entry["sid"] for entry in merged["requests"]] == ["c", "b", "a"]
    assert (merged["kept"], merged["skipped"]) == (10, 3)
