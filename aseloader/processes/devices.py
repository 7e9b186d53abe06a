"""Assignment of devices to the processes of a loader. Pure: no I/O, no clock."""

from collections.abc import Mapping, Sequence
from typing import Final

VARIABLE: Final = "CUDA_VISIBLE_DEVICES"


def visible_devices(environment: Mapping[str, str], device_files: Sequence[str]) -> list[str]:
    """Return the devices that a loader may use, as CUDA_VISIBLE_DEVICES names them.

    They are those of the variable if it is set, else one per device file (`/dev/nvidia0`, ...).
    """
    if VARIABLE in environment:
        names = (name.strip() for name in environment[VARIABLE].split(","))
        return [name for name in names if name]
    numbers = (name.rpartition("nvidia")[2] for name in device_files)
    return sorted((number for number in numbers if number.isdecimal()), key=int)


def process_environment(
    environment: Mapping[str, str], index: int, devices: Sequence[str]
) -> dict[str, str]:
    """Return the environment of process `index`, which counts from 0: it sees one of the devices.

    If there are fewer devices than processes, some share one. Without devices nothing changes.
    """
    if not devices:
        return dict(environment)
    return {**environment, VARIABLE: devices[index % len(devices)]}
