"""Services that are functions, with the types of their arguments and results."""

import logging
from collections import Counter
from dataclasses import dataclass

from aseloader import service

logger = logging.getLogger(__name__)


@dataclass
class Order:
    """What is counted."""

    words: list[str]
    least: int = 1


@service("count", output="counts", total=2)
def count(order: Order, top: int = 3) -> dict[str, int]:
    """Count the commonest words."""
    logger.info("counting %d words", len(order.words))
    counted = Counter(order.words).most_common(top)
    return {word: number for word, number in counted if number >= order.least}
