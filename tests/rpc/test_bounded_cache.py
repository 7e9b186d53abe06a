from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from rpc.bounded_cache import BoundedCache

STEPS = st.lists(st.tuples(st.sampled_from(["add", "pop"]), st.integers(0, 9)), max_size=60)


def test_a_full_cache_evicts_the_entry_that_was_added_first() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.add("a", 1)
    cache.add("b", 2)
    assert cache.entries.get("a") == 1  # reading does not keep it
    cache.add("c", 3)
    assert cache.entries == {"b": 2, "c": 3}


def test_a_key_that_is_added_again_becomes_the_latest_entry() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.add("a", 1)
    cache.add("b", 2)
    cache.add("a", 3)
    cache.add("c", 4)
    assert list(cache.entries.items()) == [("a", 3), ("c", 4)]


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
        else:
            assert cache.entries.pop(key, None) == model.pop(key, None)
        assert list(cache.entries.items()) == list(model.items())
