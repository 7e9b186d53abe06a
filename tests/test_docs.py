"""What the documents show is true: their Python runs, their commands and files exist."""

import re
from pathlib import Path

import pytest

from asectl.main import COMMANDS
from config import source
from config.resolve import resolve

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "bench" / "README.md"])


def code_blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_guide_wrapper_and_its_test_run() -> None:
    names: dict[str, object] = {}
    for block in code_blocks("docs/loader.md", "python"):
        exec(block, names)  # noqa: S102 (our own document)
    assert "Words" in names


def test_guide_config_is_valid() -> None:
    (text,) = code_blocks("docs/operate.md", "yaml")
    config = resolve(source.parse_yaml(text, "docs/operate.md"), {}, {})
    assert config.services["ocr"].deadline == 30


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_links_and_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
    for command in re.findall(r"\basectl ((?:loader |kong |api |config )?[a-z]+)", text):
        assert command in COMMANDS, f"{page.name} tells of asectl {command}"
    for path in re.findall(
        r"`((?:gateway|lb|atom|rpc|schemas|aseloader|asectl)/[\w/]+\.py)`", text
    ):
        assert (ROOT / path).exists(), f"{page.name} names {path}"
