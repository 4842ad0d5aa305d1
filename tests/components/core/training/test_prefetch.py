"""Reading ahead: the order of the keys, one value ahead and no more, errors where they belong."""

import threading

import pytest

from components.core.training.prefetch import prefetch


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("count", range(5))
def test_values_come_in_the_order_of_their_keys(count: int, device: str) -> None:
    values = prefetch(lambda key: key * key, range(count), device=device)
    assert list(values) == [key * key for key in range(count)]


def test_the_next_value_is_loaded_while_this_one_is_used_and_no_other() -> None:
    loaded = [threading.Event() for _ in range(4)]
    values = prefetch(lambda key: loaded[key].set(), range(4), device="cuda")
    for key in range(4):
        next(values)
        assert loaded[min(key + 1, 3)].wait(timeout=60)
        assert not any(event.is_set() for event in loaded[key + 2 :])


@pytest.mark.parametrize(("count", "device"), [(1, "cuda"), (4, "cpu")])
def test_a_single_value_and_the_cpu_need_no_thread(count: int, device: str) -> None:
    values = prefetch(lambda _key: threading.get_ident(), range(count), device=device)
    assert set(values) == {threading.get_ident()}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_an_error_is_raised_where_its_value_would_have_come(device: str) -> None:
    values = prefetch(lambda key: 1 // key, [2, 1, 0, 3], device=device)
    assert [next(values), next(values)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(values)


def test_closing_ends_the_thread() -> None:
    before = threading.active_count()
    values = prefetch(lambda key: key, range(100), device="cuda")
    next(values)
    values.close()
    assert threading.active_count() == before
