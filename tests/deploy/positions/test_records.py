"""Projects, applications, models, positions: as bodies say them, as records keep them."""

import pytest

from deploy.positions.records import (
    RECORDS,
    Application,
    Model,
    Position,
    Project,
    Record,
    choose_best,
    decode_record,
    encode_record,
)
from deploy.workloads.members import InvalidMemberError
from deploy.workloads.spec import InvalidSpecError

MODEL = {
    "name": "lstm", "version": "1.2", "application": "battery", "accuracy": 0.9,
    "wrapper": "lstm.py", "env": [{"key": "A", "value": "b"}],
}  # fmt: skip
POSITION = {
    "name": "north", "application": "battery", "model": "best",
    "resourceRequirements": {"memory": "64Mi"}, "replicaCount": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    "record",
    [
        Project.read({"name": "drones", "description": "all of them"}, 5.0),
        Application.read({"name": "battery", "project": "drones"}, 5.0),
        Model.read(MODEL, 5.0),
        Position.read(POSITION, 5.0),
    ],
    ids=lambda record: record.kind,
)
def test_records_are_read_as_they_were_written(record: Record) -> None:
    assert decode_record(record.key, encode_record(record)) == record
    assert type(record) in RECORDS
    assert record.created_at == 5.0


@pytest.mark.parametrize(
    ("read", "body", "message"),
    [
        (Project.read, {}, "name: is missing"),
        (Project.read, {"name": "Drones"}, "name: must be lower-case"),
        (Project.read, {"name": "a", "owner": "b"}, "owner: unknown member"),
        (Project.read, {"name": "a", "description": 5}, "description: must be a text"),
        (Application.read, {"name": "a"}, "project: is missing"),
        (Model.read, {**MODEL, "version": "1/2"}, "version: must be letters"),
        (Model.read, {**MODEL, "accuracy": 90}, "accuracy: must be a number, 0 to 1"),
        (Model.read, {**MODEL, "accuracy": True}, "accuracy: must be a number, 0 to 1"),
        (Model.read, {**MODEL, "wrapper": ""}, "wrapper: is missing"),
        (Model.read, {**MODEL, "replicaCount": 2}, "replicaCount: unknown member"),
        (Position.read, {**POSITION, "wrapper": "w.py"}, "wrapper: unknown member"),
    ],
)
def test_invalid_body_is_named(read: object, body: object, message: str) -> None:
    with pytest.raises(InvalidMemberError) as error_info:
        read(body, 0.0)  # type: ignore[operator]
    assert message in str(error_info.value)


def test_model_with_an_invalid_specification_is_refused() -> None:
    with pytest.raises(InvalidSpecError, match="modelDigest: must be the SHA-256"):
        Model.read({**MODEL, "modelFile": "m.bin", "modelDigest": "zz"}, 0.0)


def test_position_specifies_its_deployment() -> None:
    spec = Position.read(POSITION, 0.0).specification(Model.read(MODEL, 0.0))
    assert (spec.id, spec.service, spec.wrapper, spec.replicas) == ("north", "north", "lstm.py", 2)
    assert (spec.model_name, spec.resources.memory) == ("lstm", 64 * 2**20)
    assert spec.env == {
        "A": "b", "POSITION_UID": "north", "APPLICATION_UID": "battery", "MODEL_UID": "lstm:1.2",
    }  # fmt: skip
    with pytest.raises(InvalidSpecError, match="replicaCount: must be a whole number"):
        Position.read({**POSITION, "replicaCount": -1}, 0.0).specification(Model.read(MODEL, 0.0))


def test_environment_of_a_model_counts_before_that_of_its_position() -> None:
    own = Model.read({**MODEL, "env": [{"key": "MODEL_UID", "value": "mine"}]}, 0.0)
    assert Position.read(POSITION, 0.0).specification(own).env["MODEL_UID"] == "mine"


def test_best_model_has_the_highest_accuracy() -> None:
    def model(version: str, accuracy: float | None, at: float) -> Model:
        return Model("m", version, "battery", accuracy=accuracy, created_at=at)

    assert choose_best([]) is None
    assert choose_best([model("1", None, 1.0)]) is None
    models = [model("1", 0.9, 1.0), model("2", 0.9, 2.0), model("3", 0.5, 3.0)]
    best = choose_best([*models, model("4", None, 4.0)])
    assert best is not None
    assert best.id == "m:2"
