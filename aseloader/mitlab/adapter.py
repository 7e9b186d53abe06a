"""An inference template as a wrapper: `InferenceService`, or `Model` alone.

A request has a `value`, any JSON, and what MITLab's SDK sends beside it. The answer has `status`
and `value`. What the template refuses is the caller's error, with its message.
"""

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from aseloader.fields import Input, Output, String
from aseloader.types.json_values import to_json
from aseloader.wrapper import Context, Data, Outputs, Refused, Wrapper

TEMPLATE_IMPORT: Final = re.compile(r"^\s*(?:from|import) main\.utils", re.MULTILINE)
_SUCCESS: Final = "success"


class TemplateWrapper(Wrapper):
    """A model of an inference template."""

    service = "inference"
    total = 1  # a template says nothing of threads
    queue = 64

    value = Input("json")
    multi_input = Input("json", required=False)
    application_uid = String(default="")
    position_uid = String(default="")
    packet_uid = String(default="")
    inference_client_name = String(default="")
    status = Output("text")
    result = Output("json", name="value")

    module: ModuleType
    _model: Any = None
    _folder: tempfile.TemporaryDirectory[str] | None = None

    def init(self, config: Mapping[str, str]) -> None:
        """Load the model: that of the config's `model`, or where the template looks for it."""
        if config.get("model"):
            self._link_model(Path(config["model"]).absolute())
        service = getattr(self.module, "InferenceService", None)
        if service is not None:
            service.load_model()
            return
        self._model = self.module.Model(_model_path())

    def fini(self) -> None:
        """Remove what `init` has made; the model itself stays."""
        if self._folder is not None:
            self._folder.cleanup()

    def once(
        self,
        params: Mapping[str, Any],  # noqa: ARG002 (what the SDK sends beside the value)
        inputs: Mapping[str, Data],
        context: Context,  # noqa: ARG002
    ) -> Outputs:
        """Return what the template infers. Raises Refused with the message of its error."""
        value = inputs["value"]
        service = getattr(self.module, "InferenceService", None)
        if service is None:
            return {"status": _SUCCESS, "value": _to_json(self._model.inference(value))}
        answer = service.inference(value)
        if not isinstance(answer, Mapping) or answer.get("status") != _SUCCESS:
            message = answer.get("message") if isinstance(answer, Mapping) else answer
            raise Refused(str(message or "the model has refused the value"))
        return {"status": _SUCCESS, "value": _to_json(answer.get("value"))}

    def _link_model(self, model: Path) -> None:
        """Have the template find a file or folder where it looks for `model` and an extension."""
        self._folder = tempfile.TemporaryDirectory(prefix="ase-model-")
        folder = Path(self._folder.name)
        extension = "".join(model.suffixes[-1:])
        (folder / f"model{extension}").symlink_to(model)
        os.environ["MODEL_SAVE_PATH"], os.environ["FILE_EXTENSION"] = f"{folder}/", extension
        environment = getattr(self.module, "default_env", None)
        if environment is not None:
            environment.MODEL_SAVE_PATH = f"{folder}/"


def adapt_template(template: ModuleType) -> dict[str, type[Wrapper]]:
    """Return the wrapper class of a template by name, or nothing if the module is none."""
    has_service = hasattr(getattr(template, "InferenceService", None), "load_model")
    model = getattr(template, "Model", None)
    # One that the module has from elsewhere is what it works with, and not what it is.
    has_model = hasattr(model, "inference") and model.__module__ == template.__name__
    if not has_service and not has_model:
        return {}
    attributes = {
        "__doc__": template.__doc__ or TemplateWrapper.__doc__,
        "module": template,
        "service": os.environ.get("POSITION_UID", "") or TemplateWrapper.service,
    }
    name = "InferenceService" if has_service else "Model"
    return {name: type(name, (TemplateWrapper,), attributes)}


def _model_path() -> str:
    folder = os.environ.get("MODEL_SAVE_PATH", "./model/")
    return f"{folder}model{os.environ.get('FILE_EXTENSION', '')}"


def _to_json(value: Any) -> Any:
    """Return a value that can be written as JSON, else its text; tensors have `tolist`."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    try:
        to_json(value)  # arrays of numpy within it are written too
    except ValueError:
        return str(value)
    return value
