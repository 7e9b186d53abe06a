"""`asectl config`, as an operator types it."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import yaml

from tests.harness import ROOT

TEXT = "gateway: {port: 8300}\nlb:\n  token: s3cret\nschemas: schemas\n"


def asectl(folder: Path, *words: str, code: int = 0, **environ: str) -> str:
    told = subprocess.run(
        [sys.executable, "-m", "asectl", "config", *words],
        cwd=folder,
        text=True,
        timeout=60,
        capture_output=True,
        check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "", **environ},
    )
    assert told.returncode == code, told.stdout + told.stderr
    return told.stdout + told.stderr


def test_show_tells_values_and_origins(tmp_path: Path) -> None:
    assert "every option is at its default" in asectl(tmp_path, "show")
    (tmp_path / "ase.yaml").write_text(TEXT)
    said = asectl(tmp_path, "show", "--gateway-workers", "2", ASE_LB_TTL="4")
    assert [line.split() for line in said.splitlines()] == [
        ["gateway.port", "8300", "ase.yaml:1:11"],
        ["gateway.workers", "2", "--gateway-workers"],
        ["lb.ttl", "4", "ASE_LB_TTL"],
        ["lb.token", "********", "ase.yaml:3:3"],
        ["schemas", "schemas", "ase.yaml:4:1"],
    ]
    told = json.loads(asectl(tmp_path, "show", "--effective", "--json"))
    assert {"option": "gateway.host", "value": "127.0.0.1", "origin": "default"} in told
    (tmp_path / "ase.yaml").write_text("gateway: {prot: 1}")
    assert "did you mean 'port'?" in asectl(tmp_path, "show", code=3)


def test_check_looks_at_the_config_and_its_schemas(tmp_path: Path) -> None:
    (tmp_path / "ase.yaml").write_text(TEXT)
    (tmp_path / "schemas").mkdir()
    seed = (ROOT / "tests/golden/schemas/seed.yml").read_text()
    (tmp_path / "schemas/detect.yml").write_text(seed)
    assert asectl(tmp_path, "check") == "0 errors in 2 files\n"
    (tmp_path / "schemas/detect.yml").write_text(seed.replace("maximum:", "maximun:"))
    (tmp_path / "other.yaml").write_text("gateway: {port: x}\n")
    said = asectl(tmp_path, "check", "ase.yaml", "other.yaml", code=3)
    assert "other.yaml:1:17: error: gateway.port must be a whole number (got 'x')" in said
    assert (
        "schemas/detect.yml:25:11: error: speed.maximun: keyword 'maximun' is not supported" in said
    )
    assert said.endswith("2 errors in 3 files\n")
    told = json.loads(asectl(tmp_path, "check", "other.yaml", "--format", "json", code=3))
    assert told["errors"][0]["line"] == 1
    assert "nowhere.yaml: error: No such file" in asectl(tmp_path, "check", "nowhere.yaml", code=3)


def test_the_schema_for_editors_takes_a_real_file(tmp_path: Path) -> None:
    schema = json.loads(asectl(tmp_path, "schema"))
    jsonschema.validate(yaml.safe_load(TEXT), schema)
    assert "| `gateway.port` | `8200` |" in asectl(tmp_path, "schema", "--table")
