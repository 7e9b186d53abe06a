from bench_models import load_forest
from ray import serve


@serve.deployment(max_ongoing_requests=128)
class Forest:
    def __init__(self):
        self.forest = load_forest()

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.005)
    async def predict(self, features):
        return [int(label) for label in self.forest.predict(features)]

    async def __call__(self, request):
        return {"result": await self.predict((await request.json())["features"])}


app = Forest.bind()
