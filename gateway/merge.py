"""The figures of several workers as those of one gateway.

What each worker counts is added up. What all of them see of one fleet of loaders is told once.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

_SEEN_BY_ALL = "ase_lb_"


def merged(texts: Iterable[str]) -> list[Metric]:
    """Return the metrics of all workers, from the text that each serves."""
    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            if family.name not in families:
                families[family.name] = Metric(family.name, family.documentation, family.type)
                values[family.name] = {}
            told = values[family.name]
            for sample in family.samples:
                key = (sample.name, tuple(sample.labels.items()))
                before = told.get(key, 0.0)
                once = family.name.startswith(_SEEN_BY_ALL)
                told[key] = max(before, sample.value) if once else before + sample.value
    for name, family in families.items():
        family.samples = [
            Sample(sample, dict(labels), value) for (sample, labels), value in values[name].items()
        ]
    return list(families.values())


def merged_state(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the first worker's view of the instances, with what all have under way there."""
    if not states:
        return {"instances": []}
    inflight: dict[tuple[str, str], int] = {}
    for state in states:
        for line in state["instances"]:
            key = (line["service"], line["instance"])
            inflight[key] = inflight.get(key, 0) + line["inflight"]
    lines = [
        {**line, "inflight": inflight[line["service"], line["instance"]]}
        for line in states[0]["instances"]
    ]
    return {"instances": lines}
