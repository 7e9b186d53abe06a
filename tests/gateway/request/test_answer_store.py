"""Answers that are kept by key: against a model, and at every limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request.answer_store import AnswerKey, AnswerStore, find_key
from gateway.request.response import HttpError, HttpResponse

KEY: AnswerKey = ("echo", "shop", b"k")


def response(body: bytes = b"{}") -> HttpResponse:
    return HttpResponse(200, b"content-type: application/json\r\n", body)


def status_of(store: AnswerStore, fingerprint: bytes, now: float = 0.0) -> int:
    with pytest.raises(HttpError) as caught:
        store.begin(KEY, fingerprint, now)
    return caught.value.status


def test_key_of_a_request() -> None:
    assert find_key({}, "echo", "shop") is None
    assert find_key({b"idempotency-key": b'"a b"'}, "echo", "shop") == ("echo", "shop", b'"a b"')
    for wrong in (b"", b"x" * 256, "é".encode()):
        with pytest.raises(HttpError, match="1 to 255 ASCII") as caught:
            find_key({b"idempotency-key": wrong}, "echo", "shop")
        assert caught.value.status == 400


def test_request_runs_once() -> None:
    store = AnswerStore(10.0, 10_000)
    assert store.begin(KEY, b"f", 0.0) is None
    assert status_of(store, b"f") == 409
    assert status_of(store, b"other") == 422
    store.complete(KEY, response(b"first"), 1.0)
    kept = store.begin(KEY, b"f", 2.0)
    assert kept is not None
    assert (kept.status, kept.body) == (200, b"first")
    assert kept.headers == [
        (b"content-type", b"application/json"),
        (b"idempotency-replayed", b"true"),
    ]
    assert status_of(store, b"other", 2.0) == 422
    assert store.begin(("echo", "else", b"k"), b"f", 2.0) is None, "another application"
    assert store.begin(KEY, b"f", 11.0) is None, "its time is over"


def test_request_that_failed_may_run_again() -> None:
    store = AnswerStore(10.0, 10_000)
    store.begin(KEY, b"f", 0.0)
    store.abandon(KEY)
    assert store.begin(KEY, b"other", 0.0) is None


@pytest.mark.parametrize(("window", "max_bytes"), [(0.0, 10_000), (10.0, 100), (10.0, 0)])
def test_answer_that_is_not_kept(window: float, max_bytes: int) -> None:
    store = AnswerStore(window, max_bytes)
    store.begin(KEY, b"f", 0.0)
    store.complete(KEY, response(), 0.0)
    assert store.begin(KEY, b"f", 0.0) is None


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 400), st.floats(0, 5)), max_size=40),
)
def test_memory_is_bounded_and_the_newest_answer_is_kept(
    runs: list[tuple[int, int, float]],
) -> None:
    store, now = AnswerStore(10.0, 2000), 0.0
    for number, size, seconds in runs:
        now += seconds
        key = ("echo", "shop", b"%d" % number)
        if store.begin(key, b"f", now) is None:
            store.complete(key, response(b"x" * size), now)
        kept = [*store._answers.values()]
        assert store._size == sum(answer.size for answer in kept) <= 2000
        assert all(answer.expires_at > now for answer in kept)
        assert store.begin(key, b"f", now) is not None
    assert not store._running
