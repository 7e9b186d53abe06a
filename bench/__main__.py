"""`python -m bench [NAME] [--json FILE|-]`: run a bench, print its table, keep its figures."""

import argparse
import json
import sys
from pathlib import Path

from bench import layers
from bench.machine import describe

BENCHES = {"layers": layers.run}


def main() -> int:
    """Run one bench."""
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("name", nargs="?", default="layers", choices=sorted(BENCHES))
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the median counts")
    parser.add_argument("--json", metavar="FILE", help="write the figures too; - for stdout")
    told = parser.parse_args()
    figures = BENCHES[told.name](told.rounds)
    machine = describe()
    result = {"machine": machine, told.name: figures}
    text = json.dumps(result, indent=2) + "\n"
    if told.json == "-":
        print(text, end="")
        return 0
    if told.json:
        Path(told.json).write_text(text, encoding="utf-8")
    print(", ".join(f"{key} {value}" for key, value in machine.items() if key != "versions"))
    print(layers.table(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
