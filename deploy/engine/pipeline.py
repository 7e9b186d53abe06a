"""A pipeline: the named steps that bring a deployment into service, and how far they come.

Steps are level-triggered: one that has `done` is asked whether what it is for is true already, and
is run as long as it is not. So a pipeline may be interrupted between any two of them, and is gone
through again when something has changed. A step without `done` is run once for each specification.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, Self

from deploy.shimlets.interface import ShimletError
from deploy.workloads.records import DeploymentStatus, StepResult

_logger = logging.getLogger("ase.deploy")

_DEFAULT_TIMEOUT_S: Final = 300.0

# A step's function: may be a coroutine function or not.
Action = Callable[[Any], Awaitable[Any] | Any]


class StepFailedError(Exception):
    """A step cannot succeed; `str()` says why. `is_final`: another attempt does not change it."""

    def __init__(self, message: str, *, is_final: bool = True) -> None:
        super().__init__(message)
        self.is_final = is_final


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `run` does it, `done` says whether it is done, `undo` takes it back.

    `timeout` is how many seconds it may take from its first attempt until it is done, and what one
    call may take. A function that fails is called again `retries` times.
    """

    name: str
    run: Action
    done: Action | None = None
    undo: Action | None = None
    retries: int = 0
    timeout: float = _DEFAULT_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Steps in their order."""

    name: str
    steps: tuple[Step, ...]


class PipelineBuilder:
    """Collects the steps of a pipeline: `pipeline("mine").step(validate).step(deploy).build()`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._steps: list[Step] = []

    def step(
        self,
        run: Action,
        *,
        name: str = "",
        done: Action | None = None,
        undo: Action | None = None,
        retries: int = 0,
        timeout: float = _DEFAULT_TIMEOUT_S,
    ) -> Self:
        """Add a step, named as its function unless `name` says otherwise. Raises ValueError."""
        step = Step(name or run.__name__, run, done, undo, retries, timeout)
        if any(step.name == other.name for other in self._steps):
            raise ValueError(f"pipeline {self._name}: two steps are named {step.name}")
        self._steps.append(step)
        return self

    def build(self) -> Pipeline:
        """Return the pipeline. Raises ValueError without steps."""
        if not self._steps:
            raise ValueError(f"pipeline {self._name}: it has no steps")
        return Pipeline(self._name, tuple(self._steps))


def pipeline(name: str) -> PipelineBuilder:
    """Return a builder of a pipeline."""
    return PipelineBuilder(name)


class Progress(Protocol):
    """Where a run of a pipeline notes how far it is."""

    status: DeploymentStatus

    async def save(self, result: StepResult) -> None:
        """Keep the result of a step."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run of a pipeline has ended: with all steps done, or at `step`.

    `is_failed`: at a failure, for `reason`. `is_retried`: at one that is tried again. Else it waits
    until the step is done.
    """

    step: str = ""
    reason: str = ""
    is_failed: bool = False
    is_retried: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether all steps are done."""
        return not self.step


async def advance(
    steps: tuple[Step, ...], context: Any, progress: Progress, now: Callable[[], float]
) -> Verdict:
    """Go through the steps as far as they come; `now` returns the Unix time."""
    for step in steps:
        before = progress.status.step(step.name)
        attempt = before
        # One that was done, and is not any more, has its time anew.
        begins_anew = ("waiting", "undone", *(("done",) if step.done is not None else ()))
        if before.state in begins_anew or not before.started_at:
            attempt = StepResult(step.name, "running", started_at=now())
        try:
            message = await _try_step(step, context, attempt, progress)
        except StepFailedError as error:
            reason = str(error)
            attempts = attempt.attempts + 1
            is_final = error.is_final or attempts > step.retries
            state = "failed" if is_final else "running"
            await progress.save(replace(attempt, state=state, message=reason, attempts=attempts))
            return Verdict(step.name, reason, is_failed=is_final, is_retried=not is_final)
        if message is not None:
            if now() > attempt.started_at + step.timeout:
                reason = f"not done after {step.timeout:g} s: {message}"
                await progress.save(replace(attempt, state="failed", message=reason))
                return Verdict(step.name, reason, is_failed=True)
            await progress.save(replace(attempt, state="running", message=message))
            return Verdict(step.name, message)
        if progress.status.step(step.name).state != "done":
            await progress.save(StepResult(step.name, "done", "", attempt.started_at))
    return Verdict()


async def _try_step(
    step: Step, context: Any, attempt: StepResult, progress: Progress
) -> str | None:
    """Bring a step forward. Return None if it is done, else what it waits for.

    Raises StepFailedError.
    """
    if step.done is None:
        if attempt.state != "done":
            if progress.status.step(step.name).state == "waiting":
                await progress.save(attempt)
            await call_action(step, step.run, context)
        return None
    if await call_action(step, step.done, context) is True:
        return None
    if progress.status.step(step.name).state in ("waiting", "done", "undone"):
        await progress.save(replace(attempt, state="running", message=""))
    await call_action(step, step.run, context)
    answer = await call_action(step, step.done, context)
    return None if answer is True else str(answer or "not done yet")


async def call_action(step: Step, action: Action, context: Any) -> Any:
    """Call a function of a step. Raises StepFailedError for what it raises, and if it hangs."""
    try:
        async with asyncio.timeout(step.timeout):
            result = action(context)
            return await result if inspect.isawaitable(result) else result
    except StepFailedError:
        raise
    except ShimletError as error:
        raise StepFailedError(str(error), is_final=error.is_final) from error
    except TimeoutError:
        message = f"step {step.name} took longer than {step.timeout:g} s"
        raise StepFailedError(message, is_final=False) from None
    except Exception as error:
        _logger.exception("step failed by an unexpected error", extra={"step": step.name})
        raise StepFailedError(f"{type(error).__name__}: {error}", is_final=False) from error
