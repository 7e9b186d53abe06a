"""The services of the bench for BentoML, as its documentation shows them."""

import base64

import bentoml
from bench_models import compute_image, load_forest


@bentoml.service(workers=1, traffic={"timeout": 30})
class Bench:
    def __init__(self):
        self.forest = load_forest()

    @bentoml.api
    async def echo_async(self, text: str) -> str:
        return text

    @bentoml.api
    def echo_sync(self, text: str) -> str:
        return text

    @bentoml.api
    def image(self, image: str) -> int:
        return compute_image(base64.b64decode(image))

    @bentoml.api(route="/forest")
    def forest_one(self, features: list[float]) -> int:
        return int(self.forest.predict([features])[0])
