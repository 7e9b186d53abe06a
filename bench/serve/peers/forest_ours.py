from aseloader import service
from bench_models import load_forest

forest = load_forest()


@service("forest_batch", max_batch=64)
def predict(features: list[list[float]]) -> list[int]:
    return forest.predict(features)
