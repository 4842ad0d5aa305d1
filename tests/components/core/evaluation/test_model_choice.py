import numpy as np

from components.core.evaluation.model_choice import Model, advise, as_good_as_the_best

GROUPS = [str(k) for k in range(100)]


def model(name: str, right: int, megabytes: float, milliseconds: float) -> Model:
    return Model(name, (np.arange(100) < right).astype(np.int64), megabytes, milliseconds)


BIG, SMALL, POOR = (
    model("big", 90, 90.0, 30.0),
    model("small", 88, 6.0, 40.0),
    model("poor", 70, 1.0, 1.0),
)


def test_a_difference_that_chance_may_have_made_is_none() -> None:
    """2 discordant images: p = 0.5; 20 of them: p = 2 ** -19."""
    good = as_good_as_the_best([POOR, SMALL, BIG], GROUPS)
    assert [one.name for one in good] == ["big", "small"]


def test_groups_count_once() -> None:
    """All 20 images of the difference are one group: p = 1."""
    groups = [str(k) if k < 70 else "one" for k in range(100)]
    assert len(as_good_as_the_best([POOR, BIG], groups)) == 2


def test_the_advice_names_the_best_the_smallest_and_the_fastest_of_the_good() -> None:
    assert advise([BIG, POOR, SMALL], GROUPS) == [
        "most accurate: big, 0.900 on 100 images of val",
        "not worse than that by more than chance may do: small",
        "where size counts: small, 6.0 MB",
        "where time counts: big, 30.0 ms an image",
        "less accurate on these data and this budget: poor",
    ]


def test_of_one_model_the_advice_is_that_model() -> None:
    assert advise([BIG], GROUPS) == [
        "most accurate: big, 0.900 on 100 images of val",
        "where size counts: big, 90.0 MB",
        "where time counts: big, 30.0 ms an image",
    ]
