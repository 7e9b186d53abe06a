"""Values that may be used once."""

from gateway.access.nonces import NonceCache


def test_value_is_used_once_within_the_window() -> None:
    nonces = NonceCache(10, 600.0)
    assert nonces.use(b"a", 0.0)
    assert not nonces.use(b"a", 599.9)
    assert nonces.use(b"b", 599.9)
    assert nonces.use(b"a", 600.1)
    assert not nonces.use(b"a", 1200.0)


def test_full_cache_forgets_the_value_that_was_used_first() -> None:
    nonces = NonceCache(2, 600.0)
    for value in (b"a", b"b", b"c"):
        assert nonces.use(value, 0.0)
    assert not nonces.use(b"c", 1.0)
    assert nonces.use(b"a", 1.0)
