"""Quantities of resources as Kubernetes writes them: `500m` of a CPU, `512Mi` of memory. Pure.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

import re
from typing import Final

_CPU: Final = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(m?)")
_MEMORY: Final = re.compile(r"(\d{1,15}(?:\.\d{1,3})?)([KMGT]i?|k)?")
_FACTORS: Final = {
    "k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
}  # fmt: skip


def parse_cpu(text: str) -> float:
    """Return a number of CPUs: of "2", "0.5" or "500m". Raises ValueError."""
    match = _CPU.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no number of CPUs, as 2, 0.5 or 500m")
    return float(match[1]) / (1000 if match[2] else 1)


def parse_memory(text: str) -> int:
    """Return bytes: of "512Mi", "16Gi", "2G" or a number. Raises ValueError."""
    match = _MEMORY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is no size, as 512Mi, 16Gi or a number of bytes")
    return int(float(match[1]) * _FACTORS.get(match[2] or "", 1))


def cpu_text(cpus: float) -> str:
    """Return the shortest text that `parse_cpu` reads as this."""
    return f"{cpus:g}" if cpus == int(cpus) else f"{round(cpus * 1000)}m"


def memory_text(size: int) -> str:
    """Return the shortest text that `parse_memory` reads as this."""
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if size and size % _FACTORS[unit] == 0:
            return f"{size // _FACTORS[unit]}{unit}"
    return str(size)
