"""The completion, in a real bash."""

import subprocess
from pathlib import Path

import pytest

from asectl.completion import bash_script
from tests.harness import run_asectl


def complete(line: str, folder: Path) -> list[str]:
    """Return what bash offers at the end of a line."""
    words = line.split(" ")
    script = folder / "completion"
    script.write_text(bash_script())
    quoted = " ".join(f"'{word}'" for word in words)
    program = (
        f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _asectl; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    result = subprocess.run(
        ["bash", "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )
    assert result.stderr == ""
    return result.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered", "missing"),
    [
        ("asectl ", {"up", "gateway", "kong", "doctor", "lb"}, {"push"}),
        ("asectl do", {"doctor"}, {"up"}),
        ("asectl kong ", {"check", "push", "drain"}, {"doctor", "ase.yaml"}),
        ("asectl kong pu", {"push"}, {"check"}),
        ("asectl kong push --kong-a", {"--kong-admin"}, {"--kong-admin-token"}),
        ("asectl lb state --", {"--service", "--url", "--json"}, {"--lb-port"}),
        ("asectl lb --lb-p", {"--lb-port", "--lb-policy"}, {"--service"}),
        ("asectl call ocr --k", {"--key-file"}, {"--json"}),
        ("asectl gateway -c ", {"ase.yaml"}, set()),
        ("asectl gateway --until", set(), {"--until-stdin-closes"}),
    ],
)
def test_words_are_offered(line: str, offered: set[str], missing: set[str], tmp_path: Path) -> None:
    (tmp_path / "ase.yaml").touch()
    words = {*complete(line, tmp_path)}
    assert offered <= words
    assert not missing & words


def test_command_prints_the_script_and_names_the_shells() -> None:
    assert run_asectl("completion", "bash").stdout == bash_script()
    other = run_asectl("completion", "fish")
    assert other.returncode == 2
    assert "choose from" in other.stderr
