"""What a replica on a Ray cluster says to the deployer by lines of its log. Pure."""

from typing import Final

# Followed by the address of the loader, and its pid.
ADDRESS_MARK: Final = "ase-address "
# Followed by how the loader has ended.
END_MARK: Final = "ase-ended "


def find_mark(log: str, mark: str) -> str:
    """Return what follows a mark in the last line that has it, "" if none does.

    The loader's own lines follow a prefix of Ray; a mark does too, and nothing is before it.
    """
    lines = [line for line in log.splitlines() if f" -- {mark}" in line]
    return lines[-1].partition(f" -- {mark}")[2].strip() if lines else ""
