"""The pipelines that there are: those built in, those of other packages, those of a file."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from runpy import run_path
from typing import Final

from deploy.engine.engine import StepContext
from deploy.engine.pipeline import Pipeline, PipelineBuilder, pipeline
from deploy.pipelines import steps
from deploy.pipelines.canary import CanaryTrial
from deploy.pipelines.steps import FindProblem

# Other packages name a `Pipeline`, or a builder of one, by an entry point of this group.
GROUP: Final = "athena_serving.pipelines"
# The step that heeds `canary` of a specification.
CANARY_STEP: Final = "canary"
_DAY_S: Final = 86_400.0
_WEEK_S: Final = 7 * _DAY_S


class PipelineError(Exception):
    """A pipeline cannot be loaded; `str()` says which, and why."""


def built_in() -> dict[str, Pipeline]:
    """Return the pipelines that come with the deployer.

    `opensourcellm` is that of Astron xmod-shim, `wrapper` serves FILE:Class or an image, `edge` is
    for hosts that may be cut off: the model is there before anything is started.
    """
    model = steps.ModelFile()
    wrapper = _ending(
        _beginning("wrapper")
        .step(model.check, name="model", done=model.is_present, retries=1000, timeout=_DAY_S)
        .step(steps.generate_config, name="generateConfig", done=steps.has_config)
    )
    opensourcellm = _ending(
        _beginning("opensourcellm", _find_llm_problem)
        .step(model.check, name="modelPath", done=model.is_present, retries=10, timeout=_DAY_S)
        .step(steps.generate_config, name="generateConfig", done=steps.has_config)
    )
    edge = _ending(
        _beginning("edge", _find_edge_problem)
        .step(model.check, name="model", done=model.is_present, retries=10, timeout=_DAY_S)
        .step(steps.generate_config, name="generateConfig", done=steps.has_config)
        .step(_go_offline, name="offline", done=_is_offline)
    )
    return {built.name: built for built in (wrapper, opensourcellm, edge)}


def load_pipelines(default: str, base: Path) -> tuple[dict[str, Pipeline], str]:
    """Return all pipelines by name, and the name of the default one.

    `default` is a name, or FILE.py:NAME for a pipeline of a file, by `base`. Raises PipelineError.
    """
    pipelines = built_in()
    for point in entry_points(group=GROUP):
        try:
            pipelines[point.name] = _as_pipeline(point.load())
        except Exception as error:
            raise PipelineError(f"pipeline {point.name} of {point.value}: {error}") from error
    file, separator, name = default.rpartition(":")
    if separator:
        own = _load_file(base / file, name)
        pipelines[own.name] = own
        default = own.name
    if default not in pipelines:
        raise PipelineError(f"unknown pipeline {default!r}; there are {', '.join(pipelines)}")
    return pipelines, default


def _beginning(name: str, find_problem: FindProblem = lambda _: "") -> PipelineBuilder:
    """Return a builder with the step that every pipeline begins with."""
    validation = steps.Validation(find_problem)
    return pipeline(name).step(validation.check, name="validate", done=validation.is_valid)


def _ending(builder: PipelineBuilder) -> Pipeline:
    """Return the pipeline with the steps that every one ends with."""
    trial = CanaryTrial()
    return (
        builder.step(steps.hold, done=steps.is_held, retries=20)
        .step(steps.deploy, done=steps.is_deployed, undo=steps.undo_deploy, retries=20)
        .step(
            steps.wait_for_load, name="waitForLoad", done=steps.is_reporting,
            retries=20, timeout=_WEEK_S,  # startTimeout ends it
        )
        .step(
            trial.begin, name=CANARY_STEP, done=trial.is_promoted, undo=trial.end,
            retries=20, timeout=_WEEK_S,
        )
        .step(steps.expose, done=steps.is_exposed)
        .step(steps.retire, done=steps.is_retired, retries=1000, timeout=_DAY_S)
        .build()
    )  # fmt: skip


def _find_llm_problem(context: StepContext) -> str:
    if context.spec.model_name:
        return ""
    return "modelName is missing: pipeline opensourcellm serves a model"


def _find_edge_problem(context: StepContext) -> str:
    resources = context.spec.resources
    if resources.memory and resources.cpu:
        return ""
    return "resourceRequirements: pipeline edge needs cpu and memory: other things run there too"


async def _go_offline(context: StepContext) -> None:
    await _is_offline(context)


async def _is_offline(context: StepContext) -> bool:
    """Tell the libraries of models not to download anything."""
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    context.env |= offline
    return True


def _load_file(path: Path, name: str) -> Pipeline:
    try:
        namespace: Mapping[str, object] = run_path(str(path))
    except OSError as error:
        raise PipelineError(f"{path}: {error.strerror}") from error
    except Exception as error:
        raise PipelineError(f"{path}: {type(error).__name__}: {error}") from error
    if name not in namespace:
        raise PipelineError(f"{path}: it defines no {name!r}")
    return _as_pipeline(namespace[name])


def _as_pipeline(value: object) -> Pipeline:
    if isinstance(value, PipelineBuilder):
        value = value.build()
    if not isinstance(value, Pipeline):
        raise PipelineError(f"{value!r} is no pipeline; end it with .build()")
    return value
