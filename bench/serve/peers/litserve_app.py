"""The services of the bench for LitServe: `litserve_app.py CASE PORT`."""

import base64
import sys

import litserve
from bench_models import compute_image, load_forest


class EchoSync(litserve.LitAPI):
    def setup(self, device):
        pass

    def decode_request(self, request):
        return request["text"]

    def predict(self, text):
        return text

    def encode_response(self, output):
        return {"text": output}


class EchoAsync(EchoSync):
    async def decode_request(self, request):
        return request["text"]

    async def predict(self, text):
        return text

    async def encode_response(self, output):
        return {"text": output}


class Image(EchoSync):
    def decode_request(self, request):
        return base64.b64decode(request["image"])

    def predict(self, data):
        return compute_image(data)

    def encode_response(self, output):
        return {"result": output}


class Forest(EchoSync):
    def setup(self, device):
        self.forest = load_forest()

    def decode_request(self, request):
        return request["features"]

    def predict(self, features):
        return int(self.forest.predict([features])[0])

    def encode_response(self, output):
        return {"result": output}


if __name__ == "__main__":
    case, port = sys.argv[1:]
    api = {
        "echo_async": lambda: EchoAsync(enable_async=True),
        "echo_sync": EchoSync,
        "image": Image,
        "forest": Forest,
    }[case]()
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(port=int(port), log_level="warning", access_log=False, generate_client_file=False)
