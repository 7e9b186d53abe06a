from bench_models import load_forest
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Forest(MLModel):
    async def load(self):
        self.forest = load_forest()
        return True

    async def predict(self, payload):
        features = self.decode(payload.inputs[0], default_codec=NumpyCodec)
        outputs = [NumpyCodec.encode_output("result", self.forest.predict(features))]
        return InferenceResponse(model_name=self.name, outputs=outputs)
