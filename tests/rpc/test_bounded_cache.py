from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from rpc.bounded_cache import BoundedCache

STEPS = st.lists(st.tuples(st.sampled_from(["add", "pop", "get"]), st.integers(0, 9)), max_size=60)


def test_a_full_cache_evicts_the_entry_that_was_added_first() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.add("a", 1)
    cache.add("b", 2)
    assert cache.get("a") == 1  # reading does not keep it
    cache.add("c", 3)
    assert "a" not in cache
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (None, 2, 3)


def test_a_key_that_is_added_again_becomes_the_latest_entry() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.add("a", 1)
    cache.add("b", 2)
    cache.add("a", 3)
    assert len(cache) == 2
    cache.add("c", 4)
    assert (cache.get("a"), cache.get("b")) == (3, None)


@given(STEPS, st.integers(1, 5))
def test_it_agrees_with_an_ordered_dict(steps: list[tuple[str, int]], size: int) -> None:
    cache: BoundedCache[int, int] = BoundedCache(size)
    model: OrderedDict[int, int] = OrderedDict()
    for number, (step, key) in enumerate(steps):
        if step == "add":
            cache.add(key, number)
            model.pop(key, None)
            model[key] = number
            if len(model) > size:
                model.popitem(last=False)
        elif step == "pop":
            assert cache.pop(key) == model.pop(key, None)
        else:
            assert cache.get(key) == model.get(key)
        assert len(cache) == len(model) <= size
        assert all((key in cache) == (key in model) for key in range(10))
