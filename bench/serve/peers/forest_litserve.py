import sys

import litserve
from bench_models import load_forest


class Forest(litserve.LitAPI):
    def setup(self, device):
        self.forest = load_forest()

    def decode_request(self, request):
        return request["features"]

    def predict(self, features):
        return [int(label) for label in self.forest.predict(features)]

    def encode_response(self, output):
        return {"result": output}


if __name__ == "__main__":
    api = Forest(max_batch_size=64, batch_timeout=0.005)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(port=int(sys.argv[1]), log_level="warning", generate_client_file=False)
