import numpy as np

from components.core.training.subset import Joined, Subset, evenly, of_each_class

PIXELS = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1).repeat(3, axis=3)


def seen(images: np.ndarray) -> list[int]:
    assert images.shape[1:] == (1, 1, 3)
    return [int(value) for value in images[:, 0, 0, 0]]


def test_a_subset_has_its_images_under_new_indices() -> None:
    some = Subset(PIXELS, np.array([7, 2, 4]))
    assert len(some) == 3
    assert seen(some[slice(0, 2)]) == [7, 2]
    assert seen(some[np.array([2, 0])]) == [4, 7]


def test_evenly_chosen_images_reach_from_the_first_to_the_last() -> None:
    assert seen(evenly(PIXELS, 4)[slice(None)]) == [0, 3, 6, 9]
    assert seen(evenly(PIXELS, 99)[slice(None)]) == list(range(10))
    assert seen(evenly(PIXELS, 1)[slice(None)]) == [0]


def test_no_class_has_more_than_its_share_of_the_chosen_images_and_none_is_left_out() -> None:
    labels = np.array([0, 0, 0, 0, 0, 2, 1, 1, 0])
    assert of_each_class(labels, 2).tolist() == [0, 5, 6, 7, 8]
    assert of_each_class(labels, 99).tolist() == list(range(9))


def test_joined_arrays_are_one_array() -> None:
    joined = Joined([PIXELS[:2], PIXELS[2:2], PIXELS[2:6], PIXELS[6:]])
    assert len(joined) == 10
    assert seen(joined[slice(None)]) == list(range(10))
    assert seen(joined[np.array([9, 0, 3, 3])]) == [9, 0, 3, 3]
    assert seen(joined[slice(1, 3)]) == [1, 2]
