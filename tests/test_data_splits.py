"""Splits: parts are disjoint and complete, classes are shared out, the future stays out."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from modelscale.data.raw import Raw, Texts
from modelscale.data.shuffling import shuffled, uniform
from modelscale.data.splits.base import Fold, SplitSpec
from modelscale.errors import DataError

LETTERS = tuple("abcdefghij")
fractions = st.floats(0.0, 0.45)
FIRST_SHUFFLE = [2, 4, 6, 8, 5, 1, 7, 0, 9, 3]
FIRST_TEST = [0, 3, 9, 14]
few = settings(max_examples=60, deadline=None)


def raw_of(classes: list[int], **extra: object) -> Raw:
    codes = np.array(classes, dtype=np.int32)
    return Raw(Texts(codes, LETTERS), ("y",), "0" * 64, "test", {"x": codes * 1.0}, **extra)


def divide(raw: Raw, **spec: object) -> tuple[Fold, ...]:
    return SplitSpec.model_validate(spec).divide(raw, "classification")


def too_few(raw: Raw, **spec: object) -> bool:
    """Return whether a split is refused, as a part would be empty."""
    try:
        divide(raw, **spec)
    except DataError as error:
        return "part would be empty" in str(error)
    return False


def parts_of(fold: Fold) -> list[list[int]]:
    return [fold.train.tolist(), fold.validation.tolist(), fold.test.tolist()]


def assert_apart(seen: list[set[int]]) -> None:
    assert all(a.isdisjoint(b) for a, b in itertools.combinations(seen, 2))


def assert_partition(fold: Fold, rows: int) -> None:
    parts = parts_of(fold)
    assert sorted(itertools.chain(*parts)) == list(range(rows))
    assert all(part == sorted(part) for part in parts)


@few
@given(
    st.lists(st.integers(0, 4), min_size=12, max_size=80),
    fractions,
    fractions,
    st.integers(0, 9),
)
def test_random_parts_hold_each_class_within_one_row(
    classes: list[int], test: float, validation: float, seed: int
) -> None:
    raw = raw_of(classes)
    spec = {"kind": "random", "test": test, "validation": validation, "seed": seed}
    if too_few(raw, **spec):
        return
    (fold,) = divide(raw, **spec)
    assert_partition(fold, len(classes))
    shares = (1 - test - validation, validation, test)
    for part, share in zip(parts_of(fold), shares, strict=True):
        for label in set(classes):
            exact = share * classes.count(label)
            got = sum(classes[row] == label for row in part)
            assert abs(got - exact) < 1 + 1e-6
        assert abs(len(part) - share * len(classes)) < 2.5
    assert parts_of(divide(raw, **spec)[0]) == parts_of(fold)


@few
@given(st.lists(st.integers(0, 12), min_size=30, max_size=90), st.integers(0, 5))
def test_groups_never_straddle(groups: list[int], seed: int) -> None:
    groups = [*groups, *range(13)]  # at least 13 groups, so that no part is empty
    raw = raw_of([0] * len(groups), groups=np.array(groups))
    (fold,) = divide(raw, kind="group", seed=seed)
    assert_partition(fold, len(groups))
    seen = [{groups[row] for row in part} for part in parts_of(fold)]
    assert_apart(seen)


@few
@given(st.lists(st.integers(0, 30), min_size=5, max_size=60))
def test_time_parts_do_not_know_the_future(times: list[int]) -> None:
    raw = raw_of([0] * len(times), times=np.array(times, dtype=np.float64))
    if too_few(raw, kind="time"):
        return
    (fold,) = divide(raw, kind="time")
    assert_partition(fold, len(times))
    train, validation, test = ([times[row] for row in part] for part in parts_of(fold))
    assert max(train) < min(validation)
    assert max(validation) < min(test)


@few
@given(st.lists(st.integers(0, 3), min_size=20, max_size=70), st.integers(2, 6), st.booleans())
def test_every_row_is_tested_in_exactly_one_fold(
    classes: list[int], folds: int, group: bool
) -> None:
    groups = np.arange(len(classes)) // 2
    raw = raw_of(classes, groups=groups)
    rounds = divide(raw, kind="kfold", folds=folds, group=group)
    assert len(rounds) == folds
    for fold in rounds:
        assert_partition(fold, len(classes))
        if group:
            seen = [set(groups[part].tolist()) for part in parts_of(fold)]
            assert_apart(seen)
    tested = sorted(row for fold in rounds for row in fold.test.tolist())
    assert tested == list(range(len(classes)))
    if not group:
        for fold in rounds:
            for label in set(classes):
                got = sum(classes[row] == label for row in fold.test.tolist())
                assert abs(got - classes.count(label) / folds) < 1 + 1e-6


def test_column_split_takes_the_parts_that_the_data_names() -> None:
    words = ("test", "train", "validation")
    part = Texts(np.array([1, 1, 0, 2], dtype=np.int32), words)
    (fold,) = divide(raw_of([0, 1, 0, 1], part=part), kind="column")
    assert parts_of(fold) == [[0, 1], [3], [2]]
    odd = Texts(np.array([0, 1], dtype=np.int32), ("train", "dev"))
    with pytest.raises(DataError, match="row 2: the part is 'dev'; it must be one of train"):
        divide(raw_of([0, 1], part=odd), kind="column")


def test_splits_that_cannot_be_made_say_why() -> None:
    raw = raw_of([0, 1, 0, 1])
    with pytest.raises(DataError, match="split: time needs the source to name a time column"):
        divide(raw, kind="time")
    with pytest.raises(DataError, match="needs the source to name a group column"):
        divide(raw, kind="group")
    with pytest.raises(DataError, match="needs the source to name a part column"):
        divide(raw, kind="column")
    with pytest.raises(DataError, match=r"the test part would be empty.*\(there are 2\)"):
        divide(raw_of([0, 0]), kind="random")
    with pytest.raises(ValidationError, match=r"test 0\.6 and validation 0\.4 leave nothing"):
        SplitSpec.model_validate({"test": 0.6, "validation": 0.4})
    with pytest.raises(DataError, match="stratify: true needs a classification target"):
        SplitSpec.model_validate({"stratify": True}).divide(raw, "regression")


def test_splits_are_the_same_for_ever() -> None:
    """These numbers hold on every platform and release; a change would mix test and train."""
    assert shuffled(10, 0).tolist() == FIRST_SHUFFLE
    assert shuffled(10, 1).tolist() != FIRST_SHUFFLE
    (fold,) = divide(raw_of([0, 1] * 10), kind="random")
    assert fold.test.tolist() == FIRST_TEST


def test_hashed_numbers_look_uniform() -> None:
    draws = uniform(20_000, 3)
    assert draws.min() >= 0
    assert draws.max() < 1
    assert abs(draws.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.02
