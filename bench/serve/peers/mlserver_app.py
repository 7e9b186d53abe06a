"""The services of the bench for MLServer: custom runtimes of the V2 inference protocol."""

import base64

from bench_models import compute_image
from mlserver import MLModel
from mlserver.codecs import StringCodec
from mlserver.types import InferenceResponse, ResponseOutput


class Echo(MLModel):
    async def predict(self, payload):
        (text,) = self.decode(payload.inputs[0], default_codec=StringCodec)
        return InferenceResponse(
            model_name=self.name, outputs=[StringCodec.encode_output("text", [text])]
        )


class Image(MLModel):
    async def predict(self, payload):
        (image,) = self.decode(payload.inputs[0], default_codec=StringCodec)
        size = compute_image(base64.b64decode(image))
        output = ResponseOutput(name="result", shape=[1], datatype="INT64", data=[size])
        return InferenceResponse(model_name=self.name, outputs=[output])
