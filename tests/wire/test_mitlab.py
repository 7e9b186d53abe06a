"""An inference template of MITLab, filled in by a user, as a loader; its path and answers."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.harness import Gateway, Loader

# What a user has made of the template: its classes and imports are as the template has them.
TEMPLATE = """\
from main.utils.env_loader import default_env
from main.utils.logger import log_trigger, log_writer
import os


class Vector(list):
    def tolist(self):
        return list(self)


class Model():
    def __init__(self, model_path):
        with open(model_path) as stream:
            self.factor = float(stream.read())

    @log_trigger("INFO")
    def inference(self, input_data):
        if input_data == ["exit"]:
            raise SystemExit
        return Vector(self.factor * number for number in input_data)


class InferenceService():
    model = None

    @staticmethod
    def load_model():
        if InferenceService.model is None:
            extension = os.environ.get('FILE_EXTENSION')
            InferenceService.model = Model(default_env.MODEL_SAVE_PATH + f"model{extension}")
        return InferenceService.model

    @staticmethod
    def input_data_transform(input_data):
        return input_data

    @staticmethod
    def inference(input_data):
        if input_data == "broken":
            return 1 / 0
        try:
            result = InferenceService.model.inference(
                InferenceService.input_data_transform(input_data))
            return {"status": "success", "value": str(result.tolist())}
        except Exception as e:
            log_writer(log_level='ERROR', func=InferenceService.inference, message=str(e))
            return {"status": "error", "message": str(e)}
"""
MODEL_ALONE = """\
class Model:
    def __init__(self, model_path):
        self.factor = float(open(model_path).read())

    def inference(self, value):
        return {"doubled": self.factor * value}
"""


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with Gateway("--lb-accept-schemas", "true") as running:
        yield running


@pytest.fixture(scope="module")
def north(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a position whose loader runs the template."""
    folder = tmp_path_factory.mktemp("template")
    file = folder / "main/apps/inference_exe/services/inference.py"
    file.parent.mkdir(parents=True)
    file.write_text(TEMPLATE)
    (folder / "factor.txt").write_text("2")
    flags = ("--set", f"model={folder / 'factor.txt'}", "--service", "north")
    with Loader(gateway.lb, str(file), *flags) as loader:
        gateway.wait_until_up(loader)
        yield f"{gateway.url}/inference-service-north"


def post(url: str, **request: object) -> tuple[int, object]:
    response = httpx.post(url, trust_env=False, timeout=30.0, **request)  # type: ignore[arg-type]
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["content-length"]) == len(response.content)
    return response.status_code, response.json()


def test_template_answers_as_it_did(north: str) -> None:
    assert post(north, json={"value": [1, 2.5]}) == (
        200, {"status": "success", "value": "[2.0, 5.0]"},
    )  # fmt: skip


def test_request_of_the_sdk_is_taken(north: str) -> None:
    request = {
        "application_uid": "a", "position_uid": "north", "packet_uid": "p",
        "inference_client_name": "c", "multi_input": False, "value": [3],
    }  # fmt: skip
    assert post(north, json=request)[1] == {"status": "success", "value": "[6.0]"}


@pytest.mark.parametrize(
    ("request_parts", "status", "message"),
    [
        ({"content": b"{no json", "headers": {"content-type": "application/json"}}, 400,
         "Invalid JSON in request body"),
        ({"json": {"values": [1]}}, 400, "values: is not known here; did you mean 'value'?"),
        ({"json": {}}, 400, "Missing 'value' key in request data"),
        ({"json": {"value": ["x"]}}, 422, "can't multiply sequence by non-int of type 'float'"),
        ({"json": {"value": "broken"}}, 500, "An unexpected error occurred"),
    ],
)  # fmt: skip
def test_errors_have_the_form_of_the_template(
    north: str, request_parts: dict[str, object], status: int, message: str
) -> None:
    assert post(north, **request_parts) == (status, {"status": "error", "message": message})


def test_position_that_is_not_there_is_said(gateway: Gateway, north: str) -> None:
    status, body = post(f"{gateway.url}/inference-service-south", json={"value": 1})
    assert status == 404
    assert isinstance(body, dict)
    assert body["status"] == "error"


def test_the_same_position_has_our_form_too(gateway: Gateway, north: str) -> None:
    status, body = post(f"{gateway.url}/v1/north", json={"value": [1]})
    assert (status, body) == (200, {"status": "success", "value": "[2.0]"})


def test_model_alone_is_a_template_too(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(MODEL_ALONE)
    (tmp_path / "factor").write_text("2")
    flags = ("--set", f"model={tmp_path / 'factor'}", "--service", "east")
    with Loader(gateway.lb, str(tmp_path / "model.py"), *flags) as loader:
        gateway.wait_until_up(loader)
        assert post(f"{gateway.url}/inference-service-east", json={"value": 4})[1] == {
            "status": "success", "value": {"doubled": 8.0},
        }  # fmt: skip
