"""A TypeScript client made from a schema; a compiler reads it in tests/wire/test_clients."""

from dataclasses import replace

from schemas.output.client_api import ClientMember, ValueKind
from schemas.output.typescript_client import render_client
from tests.schemas.output.test_client_api import Boxes, api_of
from tests.wrappers.forms import Forms


def test_members_and_outputs_are_types() -> None:
    source = render_client(api_of(Boxes))
    assert "  picture: FileInput;\n  /** how many */\n  top: number;\n" in source
    assert "  near?: { label?: string | null; x: number };\n" in source
    assert "  boxes?: Array<{ label?: string | null; x: number }>;\n" in source
    assert 'const FILES: string[] = ["picture"];' in source
    assert "const RETRIED: number[] = [409, 429, 502, 503];" in source
    assert "const RETRIED: number[] = [429, 503];" in render_client(api_of(Forms))


def test_texts_end_no_comment_and_no_string() -> None:
    member = ClientMember('a"b', "t", ValueKind.TEXT, {}, "*/ alert(1) /*\u2028")
    api = replace(api_of(Forms), description="x */ y\n", members=(member,), outputs=(member,))
    source = render_client(replace(api, service_id='a"/b'))
    assert '/v1/` + "a\\"/b";' in source
    assert '  /** * / alert(1) /*  */\n  "a\\"b"?: string;' in source
    assert source.startswith("/** x * / y  Made from")
