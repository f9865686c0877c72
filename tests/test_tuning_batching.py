"""How wide batches of trials are."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelscale.tuning.batching import batch_size, batches
from modelscale.tuning.samplers.base import SamplerSpec

KINDS = SamplerSpec.kinds()
every_kind = pytest.mark.parametrize("kind", KINDS)


def widths(kind, total, cohort, **fields):
    sampler = SamplerSpec.model_validate({"kind": kind, **fields})
    return [len(batch) for batch in batches(total, cohort, sampler)]


@every_kind
@given(total=st.integers(1, 300), more=st.integers(0, 100), cohort=st.integers(1, 64))
def test_longer_search_has_the_batches_of_the_shorter_one(kind, total, more, cohort):
    sampler = SamplerSpec.model_validate(kind)
    short, long = batches(total, cohort, sampler), batches(total + more, cohort, sampler)
    assert list(itertools.chain(*short)) == list(range(total))
    assert max(map(len, long)) <= cohort
    assert [b.start for b in short] == [b.start for b in long][: len(short)]
    assert short[:-1] == long[: len(short) - 1]


@pytest.mark.parametrize("kind", ["random", "qmc", "grid"])
def test_sampler_that_does_not_learn_fills_every_cohort(kind):
    assert widths(kind, 40, 16) == [16, 16, 8]


@pytest.mark.parametrize("kind", ["tpe", "gp"])
def test_learning_sampler_starts_wide_then_asks_little_then_more(kind):
    assert widths(kind, 64, 16) == [10, 4, 4, 4, 4, 4, 5, 5, 6, 7, 8, 3]
    assert widths(kind, 30, 8, startup_trials=20) == [8, 8, 4, 4, 4, 2]
    assert widths(kind, 5, 1) == [1] * 5


@pytest.mark.parametrize("kind", ["cmaes", "nsga2"])
def test_batches_of_an_evolution_end_with_its_generations(kind):
    assert widths(kind, 30, 8, population=12) == [8, 4, 8, 4, 6]
    assert widths(kind, 30, 64, population=12) == [12, 12, 6]


def test_nothing_is_left_to_ask():
    assert batch_size(32, 32, 8, SamplerSpec.model_validate("tpe")) == 0
    assert batch_size(40, 32, 8, SamplerSpec.model_validate("tpe")) == 0
