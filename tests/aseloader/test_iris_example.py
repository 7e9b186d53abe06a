"""The example with scikit-learn: its batches name the species that the model names."""

import base64
import json

from aseloader.loading import load
from aseloader.testing import LoaderError, LoaderFor
from tests.harness import ROOT

EXAMPLE = ROOT / "examples/iris"


def test_batches_of_flowers() -> None:
    wrapper_class = load(str(EXAMPLE / "wrapper.py"))
    flowers = [[5.1, 3.5, 1.4, 0.2], [6.0, 2.9, 4.5, 1.5], [6.3, 3.3, 6.0, 2.5]]
    requests = [({}, {"features": json.dumps(flower).encode()}) for flower in flowers]
    with LoaderFor(wrapper_class()) as call:
        results = call.batch([*requests, ({}, {"features": b'{"sepal": 5}'})])
    species = [r.code if isinstance(r, LoaderError) else r["species"].data for r in results]
    assert species == [b"setosa", b"versicolor", b"virginica", 10107]


def test_request_of_the_example_is_a_flower() -> None:
    request = json.loads((EXAMPLE / "request.json").read_text(encoding="utf-8"))
    features = json.loads(base64.b64decode(request["payload"]["features"]["text"]))
    assert features == [5.1, 3.5, 1.4, 0.2]
