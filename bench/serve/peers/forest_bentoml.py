import bentoml
from bench_models import load_forest


@bentoml.service(workers=1, traffic={"timeout": 30})
class Bench:
    def __init__(self):
        self.forest = load_forest()

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    def forest_batch(self, features: list[list[float]]) -> list[int]:
        return [int(label) for label in self.forest.predict(features)]
