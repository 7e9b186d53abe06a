"""`asectl config`, as an operator types it."""

import json
from pathlib import Path

import jsonschema
import yaml

from tests.harness import ROOT, run_asectl

CONFIG_YAML = "gateway: {port: 8300}\nlb:\n  token: s3cret\nschemas: schemas\n"


def asectl(folder: Path, *args: str, code: int = 0, **environ: str) -> str:
    result = run_asectl("config", *args, cwd=folder, environ={"PATH": "", **environ})
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_show_prints_values_and_origins(tmp_path: Path) -> None:
    assert "every option is at its default" in asectl(tmp_path, "show")
    (tmp_path / "ase.yaml").write_text(CONFIG_YAML)
    output = asectl(tmp_path, "show", "--gateway-workers", "2", ASE_LB_TTL="4")
    assert [line.split() for line in output.splitlines()] == [
        ["gateway.port", "8300", "ase.yaml:1:11"],
        ["gateway.workers", "2", "--gateway-workers"],
        ["lb.ttl", "4", "ASE_LB_TTL"],
        ["lb.token", "********", "ase.yaml:3:3"],
        ["schemas", "schemas", "ase.yaml:4:1"],
    ]
    options = json.loads(asectl(tmp_path, "show", "--effective", "--json"))
    assert {"option": "gateway.host", "value": "127.0.0.1", "origin": "default"} in options
    (tmp_path / "ase.yaml").write_text("gateway: {prot: 1}")
    assert "did you mean 'port'?" in asectl(tmp_path, "show", code=3)


def test_check_validates_the_config_and_its_schemas(tmp_path: Path) -> None:
    (tmp_path / "ase.yaml").write_text(CONFIG_YAML)
    (tmp_path / "schemas").mkdir()
    seed = (ROOT / "tests/golden/schemas/seed.yml").read_text()
    (tmp_path / "schemas/detect.yml").write_text(seed)
    assert asectl(tmp_path, "check") == "0 errors in 2 files\n"
    (tmp_path / "schemas/detect.yml").write_text(seed.replace("maximum:", "maximun:"))
    (tmp_path / "other.yaml").write_text("gateway: {port: x}\n")
    output = asectl(tmp_path, "check", "ase.yaml", "other.yaml", code=3)
    assert "other.yaml:1:17: error: gateway.port must be a whole number (got 'x')" in output
    assert (
        "schemas/detect.yml:25:11: error: speed.maximun: keyword 'maximun' is not supported"
        in output
    )
    assert output.endswith("2 errors in 3 files\n")
    report = json.loads(asectl(tmp_path, "check", "other.yaml", "--format", "json", code=3))
    assert report["errors"][0]["line"] == 1
    assert "nowhere.yaml: error: No such file" in asectl(tmp_path, "check", "nowhere.yaml", code=3)


def test_editor_schema_accepts_a_real_file(tmp_path: Path) -> None:
    schema = json.loads(asectl(tmp_path, "schema"))
    jsonschema.validate(yaml.safe_load(CONFIG_YAML), schema)
    assert "| `gateway.port` | `8200` |" in asectl(tmp_path, "schema", "--table")
