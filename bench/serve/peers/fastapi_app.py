"""The services of the bench for FastAPI, as its documentation shows them."""

import base64

from bench_models import compute_image, load_forest
from fastapi import FastAPI
from pydantic import BaseModel, Field

forest = load_forest()
app = FastAPI()


class Text(BaseModel):
    text: str = Field(max_length=10_000_000)


class Image(BaseModel):
    image: str


class Features(BaseModel):
    features: list[float]


@app.post("/echo_async")
async def echo_async(body: Text) -> Text:
    return body


@app.post("/echo_sync")
def echo_sync(body: Text) -> Text:
    return body


@app.post("/image")
def image(body: Image) -> dict[str, int]:
    return {"result": compute_image(base64.b64decode(body.image))}


@app.post("/forest")
def predict(body: Features) -> dict[str, int]:
    return {"result": int(forest.predict([body.features])[0])}
