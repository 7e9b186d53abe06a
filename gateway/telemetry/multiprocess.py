"""Merges the metrics and the state of several workers into those of one gateway.

Counters and gauges of all workers are summed. Metrics named `ase_lb_...` describe the loaders,
which every worker sees alike: the merged value is the maximum.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

# Prefix of the metrics whose maximum is taken instead of the sum.
_SHARED_PREFIX = "ase_lb_"


def merge_metrics(texts: Iterable[str]) -> list[Metric]:
    """Return the metrics of all workers as one set.

    `texts` are their metrics in Prometheus' text format. Samples with the same name and labels are
    merged.
    """
    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for text in texts:
        for family in text_string_to_metric_families(text):
            if family.name not in families:
                families[family.name] = Metric(family.name, family.documentation, family.type)
                values[family.name] = {}
            family_values = values[family.name]
            for sample in family.samples:
                key = (sample.name, tuple(sample.labels.items()))
                previous = family_values.get(key, 0.0)
                is_shared = family.name.startswith(_SHARED_PREFIX)
                family_values[key] = (
                    max(previous, sample.value) if is_shared else previous + sample.value
                )
    for name, family in families.items():
        family.samples = [
            Sample(sample, dict(labels), value) for (sample, labels), value in values[name].items()
        ]
    return list(families.values())


def merge_states(states: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the first worker's view of the instances, with `inflight` summed over all workers.

    `states` are the workers' responses to `/lb/state`. Instances that the first worker does not
    know are omitted.
    """
    if not states:
        return {"instances": []}
    inflight: dict[tuple[str, str], int] = {}
    for state in states:
        for row in state["instances"]:
            key = (row["service"], row["instance"])
            inflight[key] = inflight.get(key, 0) + row["inflight"]
    rows = [
        {**row, "inflight": inflight[row["service"], row["instance"]]}
        for row in states[0]["instances"]
    ]
    return {"instances": rows}


def merge_explanations(answers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the explanations of all workers as those of one gateway, the latest first."""
    requests = [entry for answer in answers for entry in answer["requests"]]
    requests.sort(key=lambda entry: str(entry["ended"]), reverse=True)
    totals = {name: sum(answer[name] for answer in answers) for name in ("kept", "skipped")}
    return {"requests": requests, **totals}
