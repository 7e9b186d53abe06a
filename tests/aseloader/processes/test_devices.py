"""Which device each process of a loader sees."""

import pytest

from aseloader.processes.devices import process_environment, visible_devices


@pytest.mark.parametrize(
    ("environment", "files", "devices"),
    [
        ({}, [], []),
        ({}, ["nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm"], ["2", "10"]),
        ({"CUDA_VISIBLE_DEVICES": "3, 1"}, ["nvidia0"], ["3", "1"]),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8f2a,MIG-1"}, [], ["GPU-8f2a", "MIG-1"]),
        ({"CUDA_VISIBLE_DEVICES": ""}, ["nvidia0"], []),
    ],
    ids=["none", "by files", "by the variable", "by uuid", "hidden on purpose"],
)
def test_visible_devices(environment: dict[str, str], files: list[str], devices: list[str]) -> None:
    assert visible_devices(environment, files) == devices


def test_processes_take_devices_in_turn() -> None:
    environments = [process_environment({"HOME": "/h"}, index, ["2", "5"]) for index in range(3)]
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in environments] == ["2", "5", "2"]
    assert environments[0]["HOME"] == "/h"
    hidden = {"CUDA_VISIBLE_DEVICES": ""}
    assert process_environment(hidden, 1, []) == hidden
