"""The services of the bench for our loader."""

from typing import Annotated

from aseloader import Input, service
from bench_models import compute_image, load_forest

forest = load_forest()


@service("echo_async", total=64)
async def echo_async(text: str) -> str:
    return text


@service("echo_sync", total=16)
def echo_sync(text: str) -> str:
    return text


@service("image", total=32)
def image(data: Annotated[bytes, Input("image")]) -> int:
    return compute_image(data)


@service("forest", total=4)
def predict(features: list[float]) -> int:
    return forest.predict([features])[0]
