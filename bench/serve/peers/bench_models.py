"""What every server of the bench computes. It imports nothing of the product, nor of a server."""

import time
from typing import Any

IMAGE_MODEL_S = 0.005


def load_forest() -> Any:
    """Return a random forest of 100 trees for the iris flowers, trained in half a second."""
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier

    flowers = load_iris()
    return RandomForestClassifier(100, random_state=1).fit(flowers.data, flowers.target)


def compute_image(data: bytes) -> int:
    """Return the size of an image after 5 ms, in which a model would run on its own device."""
    time.sleep(IMAGE_MODEL_S)
    return len(data)
