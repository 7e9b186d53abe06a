"""What the documents show is true: their Python runs, their commands and files exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from asectl.main import COMMANDS
from config import source
from config.resolve import resolve
from deploy.kong.document import make_document
from tests.harness import Gateway, Loader

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


def test_configs_of_the_guide_are_valid() -> None:
    texts = code_blocks("docs/operate.md", "yaml")
    configs = [resolve(source.parse_yaml(text, "docs/operate.md"), {}, {}) for text in texts]
    assert configs[0].services["ocr"].deadline == 30
    for config in configs:
        assert make_document(config)["upstreams"][0]["targets"]


@pytest.mark.peer("curl")
def test_guide_of_calls_runs_as_it_stands(tmp_path: Path) -> None:
    """Each `$` line is run by bash; the lines after it are what it prints."""
    words = tmp_path / "words.py"
    words.write_text(code_blocks("docs/loader.md", "python")[0], encoding="utf-8")
    image = f"{ROOT}/examples/image/wrapper.py:Thumbnail"
    with (
        Gateway() as gateway,
        Loader(gateway.lb, f"{words}:Words") as words_loader,
        Loader(gateway.lb, image) as image_loader,
    ):
        gateway.wait_until_up(words_loader)
        gateway.wait_until_up(image_loader)
        (tmp_path / "examples").symlink_to(ROOT / "examples")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        for block in code_blocks("docs/calling.md", "console"):
            for command, expected in re.findall(r"\$ (.*)\n((?:(?!\$ ).*\n)*)", block):
                url = command.replace("http://127.0.0.1:8200", gateway.url)
                asectl = rf"{sys.executable} -m asectl \1 --url {gateway.url}"
                output = subprocess.check_output(
                    ["bash", "-c", re.sub(r"\basectl (call|api client)", asectl, url)],
                    cwd=tmp_path,
                    env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path},
                    text=True,
                    stderr=subprocess.DEVNULL,
                )
                output = re.sub(r'"sid": "[0-9a-f]{32}"', '"sid": "SID"', output)
                assert output.strip() == expected.strip(), command
        with Image.open(tmp_path / "thumbnail.png") as picture:
            assert picture.size[0] == 64


def test_guide_of_grpc_runs_as_it_stands(tmp_path: Path) -> None:
    words = tmp_path / "words.py"
    words.write_text(code_blocks("docs/loader.md", "python")[0], encoding="utf-8")
    (program,) = code_blocks("docs/calling.md", "python")
    flags = ("--gateway-grpc", "true", "--gateway-grpc-port", "0")
    with Gateway(*flags) as gateway, Loader(gateway.lb, f"{words}:Words") as loader:
        gateway.wait_until_up(loader)
        program = program.replace("127.0.0.1:8210", gateway.grpc)
        printed = subprocess.check_output(
            [sys.executable, "-c", program], cwd=ROOT, text=True, stderr=subprocess.DEVNULL
        )
    assert printed == re.search(r"# (\{.*\}\n)", program)[1]  # type: ignore[index]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_links_and_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        if not link.startswith("http"):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
    groups = "loader |kong |key |api |config |cluster |registry |position "
    for command in re.findall(rf"\basectl ((?:{groups})?[a-z]+)", text):
        # `asectl registry` is a command itself, and other words may follow it.
        is_known = command in COMMANDS or command.split()[0] in COMMANDS
        assert is_known, f"{page.name} tells of asectl {command}"
    for path in re.findall(
        r"`((?:gateway|lb|atom|rpc|schemas|aseloader|asectl)/[\w/]+\.py)`", text
    ):
        assert (ROOT / path).exists(), f"{page.name} names {path}"
