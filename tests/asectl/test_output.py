"""The forms of what commands print."""

import argparse
import json

import pytest
import yaml

from asectl.output import add_output_argument, print_output

CONTENT = {"b": [1, None, True], "a": "Grüße: yes"}


def parse(*flags: str, others: tuple[str, ...] = ()) -> str:
    parser = argparse.ArgumentParser()
    add_output_argument(parser, *others)
    return str(parser.parse_args(flags).output)


def test_form_is_a_table_unless_it_is_said() -> None:
    assert parse() == "table"
    assert parse("--json") == parse("-o", "json") == parse("--output=json") == "json"
    assert parse("-o", "csv", others=("csv",)) == "csv"
    with pytest.raises(SystemExit):
        parse("-o", "csv")


def test_content_is_the_same_in_json_and_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    print_output("json", CONTENT, ["x"])
    assert json.loads(capsys.readouterr().out) == CONTENT
    print_output("yaml", CONTENT, ["x"])
    text = capsys.readouterr().out
    assert yaml.safe_load(text) == CONTENT
    assert "Grüße" in text


def test_table_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_output("table", CONTENT, ["one", "two\x1b[2J"])
    assert capsys.readouterr().out == "one\ntwo?[2J\n"
