"""A scikit-learn model that works in batches: `asectl up examples/iris/wrapper.py`."""

from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from aseloader import service

flowers = load_iris()
forest = RandomForestClassifier(100, random_state=1).fit(flowers.data, flowers.target)


@service("iris", output="species", max_batch=64)
def iris(features: list[list[float]]) -> list[str]:
    """Name the species of an iris by the lengths and widths of its sepals and petals in cm."""
    return [str(flowers.target_names[label]) for label in forest.predict(features)]
