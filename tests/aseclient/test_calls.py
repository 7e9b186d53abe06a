"""The steps of a call: certificates, renewals, and what is tried again."""

import json
from typing import Any

import pytest

from aseclient.calls import Answer, CallPlan, Pause, Send, Steps
from aseclient.errors import CredentialError, UnavailableError
from aseclient.protocol import Account

ACCOUNT = Account.read("edge", "battery", "t", "c")
JSON = {"content-type": "application/json"}


class Edge:
    """Answers requests: certificates always, calls from `answers`, the last one repeatedly."""

    def __init__(self, *answers: Answer, lifetime: float = 3600.0) -> None:
        self.now = 1000.0
        self.sent: list[Send] = []
        self.pauses: list[float] = []
        self.plan = CallPlan(ACCOUNT, lambda: self.now, lambda: self.now)
        self._answers = [*answers]
        self.certificate_errors: list[Answer] = []
        self._lifetime = lifetime

    def drive(self, steps: Steps) -> Any:
        answer: Answer | None = None
        try:
            while True:
                step = steps.send(answer) if answer is not None else next(steps)
                answer = None
                if isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                    self.now += step.seconds
                else:
                    answer = self.answer(step)
        except StopIteration as end:
            return end.value

    def answer(self, step: Send) -> Answer:
        self.sent.append(step)
        if step.url.endswith("/certificate") and self.certificate_errors:
            return self.certificate_errors.pop()
        if step.url.endswith("/certificate"):
            number = self.certificates()
            body = {"certificate": "f" * 64, "key": f"k{number}"}
            body["expires_at"] = str(self.now + self._lifetime)
            return Answer(200, JSON, json.dumps(body).encode())
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def certificates(self) -> int:
        return sum(step.url.endswith("/certificate") for step in self.sent)


def call(edge: Edge, timeout: float = 10.0) -> Any:
    return edge.drive(edge.plan.infer("north", {"value": 1}, timeout))


DONE = Answer(200, JSON, b'{"value": 2}')
FULL = Answer(503, {**JSON, "retry-after": "3"}, b'{"code": 10110}')
REFUSED = Answer(401, JSON, b"{}")


def test_certificate_is_asked_for_once_until_it_ends() -> None:
    edge = Edge(DONE)
    assert [call(edge), call(edge)] == [2, 2]
    assert edge.certificates() == 1
    assert 'key="k1"' in edge.sent[-1].headers["authorization"]
    edge.now += 3580.0
    call(edge)
    assert edge.certificates() == 2
    edge.drive(edge.plan.infer("south", {"value": 1}, 10.0))
    assert edge.certificates() == 3


def test_certificate_that_is_refused_is_renewed_once() -> None:
    edge = Edge(REFUSED, DONE)
    assert call(edge) == 2
    assert edge.certificates() == 2
    edge = Edge(REFUSED)
    with pytest.raises(CredentialError):
        call(edge)
    assert edge.certificates() == 2
    edge = Edge(Answer(403, JSON, b"{}"))
    with pytest.raises(CredentialError):
        call(edge)
    assert edge.certificates() == 1  # another one would be of the same key


def test_full_model_is_tried_again_while_there_is_time() -> None:
    edge = Edge(FULL, FULL, DONE)
    assert call(edge) == 2
    assert edge.pauses == [3.0, 3.0]
    assert edge.sent[-1].timeout == pytest.approx(4.0)
    edge = Edge(FULL)
    with pytest.raises(UnavailableError):
        call(edge)
    assert edge.pauses == [3.0, 3.0, 3.0]


def test_certificate_is_waited_for_too() -> None:
    edge = Edge(DONE)
    edge.certificate_errors = [FULL]
    assert call(edge) == 2
    assert edge.pauses == [3.0]
    edge = Edge(DONE)
    edge.certificate_errors = [REFUSED]  # the token is wrong: another attempt is none
    with pytest.raises(CredentialError):
        call(edge)
    assert edge.certificates() == 1


@pytest.mark.parametrize("positions", [1001])
def test_certificates_that_are_kept_are_bounded(positions: int) -> None:
    edge = Edge(DONE)
    for number in range(positions):
        edge.drive(edge.plan.infer(f"p{number}", {}, 1.0))
    assert len(edge.plan._certificates) == 1


def test_loop_is_reported_with_the_certificate() -> None:
    edge = Edge(Answer(200, JSON, b'{"status": "success"}'))
    edge.drive(edge.plan.report_loop("north", 0.1234567, 5.0))
    report = edge.sent[-1]
    assert (report.url, report.body) == ("http://edge/closed-loop-north", {"value": 0.123457})
    assert report.headers["authorization"].startswith("Certificate ")
