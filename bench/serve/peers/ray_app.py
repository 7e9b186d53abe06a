"""The services of the bench for Ray Serve: `ray_app.py CASE PORT`."""

import base64
import signal
import sys

from bench_models import compute_image, load_forest
from ray import serve


@serve.deployment(max_ongoing_requests=64, logging_config={"enable_access_log": False})
class EchoAsync:
    async def __call__(self, request):
        return {"text": (await request.json())["text"]}


@serve.deployment(max_ongoing_requests=64, logging_config={"enable_access_log": False})
class Image:
    async def __call__(self, request):
        return {"result": compute_image(base64.b64decode((await request.json())["image"]))}


@serve.deployment(max_ongoing_requests=64, logging_config={"enable_access_log": False})
class Forest:
    def __init__(self):
        self.forest = load_forest()

    async def __call__(self, request):
        features = (await request.json())["features"]
        return {"result": int(self.forest.predict([features])[0])}


if __name__ == "__main__":
    case, port = sys.argv[1:]
    deployment = {
        "echo_async": EchoAsync,
        "echo_sync": EchoAsync,
        "image": Image,
        "forest": Forest,
    }[case]
    serve.start(http_options={"port": int(port)}, logging_config={"enable_access_log": False})
    serve.run(deployment.bind(), route_prefix="/")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
