"""Marks in the logs of replicas: the last one counts, and none is found in other lines."""

import pytest

from deploy.shimlets.ray_marks import ADDRESS_MARK, END_MARK, find_mark

HEAD = "INFO 2026-12-01 10:43:26,114 ase-ocr-r1-0_Loader n4g1d0wf -- "
LOG = (
    f"{HEAD}Started initializing replica.\n"
    f"{HEAD}ase-address 10.0.0.1:5000 71\n"
    f"{HEAD}a text with ase-address 1.2.3.4:1 in it\n"
    f"{HEAD}ase-address 10.0.0.1:5001 72\n"
)


@pytest.mark.parametrize(
    ("log", "mark", "found"),
    [
        ("", ADDRESS_MARK, ""),
        (LOG, ADDRESS_MARK, "10.0.0.1:5001 72"),
        (LOG, END_MARK, ""),
        (f"{LOG}{HEAD}ase-ended by SIGKILL\n", END_MARK, "by SIGKILL"),
    ],
)
def test_last_mark_counts(log: str, mark: str, found: str) -> None:
    assert find_mark(log, mark) == found
