"""Writing what is said: CTC, reading it, and its error rates."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscale.evaluation.intervals import bootstrap, paired_difference
from modelscale.evaluation.metrics._edits import distance
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.losses._reading import best_path, prefix_beam
from modelscale.losses.base import LossSpec
from modelscale.models.base import ModelSpec
from modelscale.tensors import Inputs


def written(path):
    """Return what a path of frames writes: doubles become one, blanks go."""
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol)


def by_all_paths(probabilities_TV):
    """Return the probability of everything that can be written, over every single path."""
    frames, symbols = probabilities_TV.shape
    found = {}
    for path in itertools.product(range(symbols), repeat=frames):
        share = float(np.prod([probabilities_TV[t, s] for t, s in enumerate(path)]))
        found[written(path)] = found.get(written(path), 0.0) + share
    return found


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), frames=st.integers(1, 5))
def test_wide_beam_finds_what_is_most_probable_over_all_paths(seed, frames):
    logits = 2 * torch.randn(frames, 3, generator=torch.Generator().manual_seed(seed))
    every = by_all_paths(logits.double().softmax(-1).numpy())
    found = prefix_beam(logits.log_softmax(-1)[None], 1000)[0].tolist()
    best = max(every.values())
    assert every[tuple(s for s in found if s)] == pytest.approx(best, rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_loss_is_the_surprise_over_all_paths(seed):
    draws = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, 4, 3, generator=draws)
    every = by_all_paths(logits[0].double().softmax(-1).numpy())
    for said in [(1,), (2, 1), (1, 1)]:
        target = torch.tensor([[*said, 0]])
        found = LossSpec.model_validate("ctc").per_example(logits, target).item()
        assert found * len(said) == pytest.approx(-np.log(every[said]), rel=1e-4)


def test_best_path_joins_doubles_and_drops_blanks():
    path = torch.tensor([1, 1, 0, 1, 2, 2, 0, 0])
    read = best_path(torch.nn.functional.one_hot(path, 3).float()).tolist()
    assert [symbol for symbol in read if symbol] == [1, 1, 2]


def test_beam_adds_up_ways_that_the_best_path_misses():
    # Blank wins each frame (0.6), yet symbol 1 in either or both is likelier: 0.64.
    log = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()
    assert best_path(log).tolist() == [0, 0]
    assert prefix_beam(log, 10).tolist() == [1, 0]


def codes(*texts):
    width = max(map(len, texts))
    return torch.tensor([[*map(ord, text), *[0] * (width - len(text))] for text in texts])


@pytest.mark.parametrize(
    ("said", "heard", "edits"),
    [("kitten", "sitting", 3), ("abc", "", 3), ("", "ab", 2), ("flaw", "lawn", 2)],
)
def test_distance_by_hand(said, heard, edits):
    assert distance(heard, said) == distance(said, heard) == edits


def test_error_rates_are_of_all_recordings_together():
    said = codes("one two three", "four")
    heard = codes("one too three", "four five")
    words = MetricSpec.model_validate("word_error_rate").compute(heard, said)
    letters = MetricSpec.model_validate("character_error_rate").compute(heard, said)
    assert words.item() == pytest.approx(2 / 4)
    assert letters.item() == pytest.approx((1 + 5) / (13 + 4))


word = st.sampled_from(["one", "two", "three"])
texts = st.lists(st.lists(word, min_size=1, max_size=4).map(" ".join), min_size=2, max_size=6)


@settings(max_examples=30, deadline=None)
@given(said=texts, seed=st.integers(0, 99))
def test_error_rates_equal_jiwer(said, seed):
    jiwer = pytest.importorskip("jiwer")
    heard = [said[(i * 7 + seed) % len(said)] for i in range(len(said))]
    for kind, other in (("word_error_rate", jiwer.wer), ("character_error_rate", jiwer.cer)):
        found = MetricSpec.model_validate(kind).compute(codes(*heard), codes(*said))
        assert found.item() == pytest.approx(other(said, heard))


def test_intervals_draw_recordings():
    draw = np.random.default_rng(0)
    said = ["one two", "three", "two two one", "one"] * 10
    heard = [text if draw.random() < 0.7 else "one" for text in said]
    metric = MetricSpec.model_validate("word_error_rate")
    found = bootstrap(metric, codes(*heard), codes(*said), resamples=300)
    assert found.low < found.value < found.high
    lead = paired_difference(metric, codes(*heard), codes(*said), codes(*said), resamples=300)
    assert lead.value == pytest.approx(found.value)
    assert lead.low < lead.value < lead.high


@pytest.mark.parametrize("kind", ["ctc_conv", "conformer"])
def test_writers_do_not_hear_what_lies_behind_the_end(kind):
    torch.manual_seed(0)
    spec = ModelSpec.model_validate({"kind": kind, "width": 8, "blocks": 2, "kernel": 5})
    network = spec.build(Inputs((1, 6, 40)), 5).eval()
    for parameter in network.parameters():
        parameter.data.normal_(std=0.4)
    x = torch.randn(3, 1, 6, 40)
    x[:, :, :, 24:] = 0
    long, short = network(x), network(x[..., :24])
    torch.testing.assert_close(long[:, :12], short, atol=1e-4, rtol=1e-4)
    assert (long[:, 12:].argmax(-1) == 0).all()
    assert (long[:, 12:].softmax(-1)[..., 0] > 0.999).all()
