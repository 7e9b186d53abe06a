"""A Python client made from a schema; clients call services in tests/wire/test_clients."""

import ast
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from schemas.output.client_api import ClientApi, ClientMember, ValueKind
from schemas.output.python_client import render_client
from tests.schemas.output.test_client_api import Boxes, api_of
from tests.wrappers.forms import Forms


def signature(source: str, class_name: str, method: str) -> str:
    (node,) = [
        function
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == class_name
        for function in node.body
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.name == method
    ]
    prefix = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    return prefix + ast.unparse(node.args)


def test_arguments_are_the_members() -> None:
    source = render_client(api_of(Boxes))
    arguments = (
        "self, *, picture: FileInput, top: int, near: Near | None=None, "
        "boxes: BoxesOptions | None=None"
    )
    for method in ("call", "stream"):
        assert signature(source, "Client", method) == arguments
        assert signature(source, "AsyncClient", method) == f"async {arguments}"
    assert "boxes: list[BoxesItem] | None = None" in source
    assert "class BoxesItem(TypedDict):\n    label: NotRequired[str | None]\n    x: int" in source


def test_request_that_may_have_run_is_repeated_if_that_is_harmless() -> None:
    idempotent, other = render_client(api_of(Boxes)), render_client(api_of(Forms))
    assert "_RETRIED = (409, 429, 502, 503)\n_RETRIED_ERRORS = httpx.TransportError" in idempotent
    assert "_RETRIED = (429, 503)\n_RETRIED_ERRORS = httpx.ConnectError" in other


def test_reserved_names_are_adapted() -> None:
    names = ("self", "class", "a-b", "a_b", "members", "7")
    members = tuple(ClientMember(name, name, ValueKind.TEXT, {}, "") for name in names)
    api = replace(api_of(Forms), members=members, outputs=members)
    source = render_client(api)
    assert signature(source, "Client", "call").replace(": str | None=None", "") == (
        "self, *, self_, class_, a_b, a_b_, members_, _7"
    )
    assert "'a-b': a_b,\n            'a_b': a_b_," in source
    compile(source, "client.py", "exec")


TEXTS = st.text(max_size=8) | st.text(alphabet="@\\\"'\n {}#", max_size=8)
MEMBERS = st.lists(
    st.builds(
        ClientMember,
        TEXTS,
        TEXTS,
        st.sampled_from([ValueKind.FILE, ValueKind.TEXT, ValueKind.JSON]),
        st.just({"type": "object", "properties": {"a\n'": {"enum": ["'\"\n"]}}}),
        TEXTS,
        st.booleans(),
    ),
    max_size=4,
    unique_by=lambda member: member.name,
).map(tuple)


@given(TEXTS, TEXTS, MEMBERS, MEMBERS)
def test_any_texts_render_to_a_module(
    service_id: str,
    description: str,
    members: tuple[ClientMember, ...],
    outputs: tuple[ClientMember, ...],
) -> None:
    members = tuple(sorted(members, key=lambda member: not member.required))
    api = ClientApi(service_id, description, False, members, outputs)
    exec(compile(render_client(api), "client.py", "exec"), {})  # noqa: S102
