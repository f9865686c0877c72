"""Reading one text and writing another: networks, search, metrics, and texts of symbols."""

import itertools
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscale.data.sources.number_words import in_words
from modelscale.data.tokenizers.base import TokenizerSpec
from modelscale.evaluation.intervals import bootstrap, paired_difference
from modelscale.evaluation.metrics.base import MetricSpec
from modelscale.losses.base import LossSpec
from modelscale.models.base import ModelSpec
from modelscale.models.modules.decoding import Beam, most_probable
from modelscale.tensors import Inputs

LAST, MOST = 4, 3  # symbols 2 and 3, the end, and three places for them
INPUTS = Inputs((5 + MOST,), vocabulary=7, written=MOST)


def network(seed=0):
    torch.manual_seed(seed)
    spec = ModelSpec.model_validate({"kind": "encoder_decoder", "width": 16, "heads": 2})
    built = spec.build(INPUTS, LAST + 1).eval()
    for parameter in built.parameters():  # far from the even scores that it begins with
        parameter.data.normal_(std=0.5)
    return built


def sources(count=4):
    x = torch.randint(1, 7, (count, 5), generator=torch.Generator().manual_seed(1)).float()
    x[1:2, 3:] = 0
    return x


def every_text():
    """Return all texts that can be written: with their end, or as long as there is room."""
    for length in range(MOST + 1):
        for text in itertools.product((2, 3), repeat=length):
            yield (*text, LAST)[:MOST]


def nats_of(built, source, text):
    padded = torch.tensor([*text, *[0] * (MOST - len(text))]).float()
    return built(torch.cat([source, padded])[None])[0, :, 0].sum().item()


# Networks


def test_answer_at_a_symbol_does_not_look_at_it_or_at_later_ones():
    built, x = network(), torch.cat([sources(), torch.full((4, MOST), 2.0)], dim=1)
    logits = built.decoder(x[:, 5:].long(), *built.read(x[:, :5]))
    changed = x[:, 5:].long().clone()
    changed[:, 1:] = 3
    again = built.decoder(changed, *built.read(x[:, :5]))
    assert torch.equal(logits[:, :2], again[:, :2])
    assert not torch.equal(logits[:, 2], again[:, 2])


def test_padding_of_what_is_read_changes_nothing():
    built, x = network(), sources()[1:2]
    memory, mask = built.read(x)
    alone = built.decoder(torch.tensor([[2, 3]]), memory[:, :3], mask[..., :3])
    torch.testing.assert_close(built.decoder(torch.tensor([[2, 3]]), memory, mask), alone)


def test_answers_are_those_of_the_decoders_scores_and_zero_at_padding():
    built, source = network(), sources(1)
    target = torch.tensor([[3, LAST, 0]])
    out = built(torch.cat([source, target.float()], dim=1))[0]
    log = built.decoder(target, *built.read(source))[0].log_softmax(-1)
    torch.testing.assert_close(out[:2, 0], -log[[0, 1], [3, LAST]])
    torch.testing.assert_close(out[:2, 1], -log[:2].mean(-1))
    assert out[2].tolist() == [0, 0, 0]


def test_attention_to_what_was_read_equals_torchs_own():
    from modelscale.models.modules.attention import CrossAttention

    torch.manual_seed(0)
    own, theirs = CrossAttention(8, 2), torch.nn.MultiheadAttention(8, 2, batch_first=True)
    theirs.in_proj_weight.data = torch.cat([own.q.weight, own.kv.weight])
    theirs.in_proj_bias.data.zero_()
    theirs.out_proj.load_state_dict(own.out.state_dict())
    x, memory = torch.randn(2, 3, 8), torch.randn(2, 5, 8)
    hidden = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    found = own(x, memory, hidden.float()[:, None, None] * -1e9)
    wanted, _ = theirs(x, memory, memory, key_padding_mask=hidden)
    torch.testing.assert_close(found, wanted)


# Search


@pytest.mark.parametrize("seed", range(5))
def test_wide_beam_finds_the_most_probable_of_all_texts(seed):
    built, x = network(seed), sources()
    found = most_probable(built, x, Beam(50, 0.0, LAST, 2))
    for source, row in zip(x, found.tolist(), strict=True):
        # Symbols that are never written take no part, so all texts compete on equal terms.
        best = min(every_text(), key=lambda text, own=source: nats_of(built, own, text))
        assert tuple(s for s in row if s) == tuple(s for s in best if s != LAST)


def test_beam_of_one_takes_the_best_symbol_each_time():
    built, x = network(3), sources()
    found = most_probable(built, x, Beam(1, 0.6, LAST, 2))
    for source, row in zip(x, found.tolist(), strict=True):
        text = []
        while len(text) < MOST and LAST not in text:
            before = torch.tensor([[*text, 0]])
            scores = built.decoder(before, *built.read(source[None]))[0, -1]
            text.append(int(scores[2:].argmax()) + 2)
        assert [s for s in row if s] == [s for s in text if s != LAST]


def test_length_penalty_prefers_longer_texts():
    built, x = network(1), sources(40)
    lengths = [
        (most_probable(built, x, Beam(50, power, LAST, 2)) > 0).sum().item()
        for power in (0.0, 2.0)
    ]
    assert lengths[1] > lengths[0]


# Loss


def test_label_smoothing_is_that_of_cross_entropy():
    built, source = network(), sources(2)
    target = torch.tensor([[3, LAST, 0], [2, 2, LAST]])
    out = built(torch.cat([source, target.float()], dim=1))
    loss = LossSpec.model_validate({"kind": "teacher_forcing", "label_smoothing": 0.2})
    logits = built.decoder(target, *built.read(source))
    for row in range(2):
        count = int((target[row] > 0).sum())
        wanted = torch.nn.functional.cross_entropy(
            logits[row, :count], target[row, :count], label_smoothing=0.2
        )
        torch.testing.assert_close(loss.per_example(out, target)[row], wanted)


# Metrics


def codes(texts, *before):
    width = max(map(len, texts))
    rows = [[*map(ord, text), *[0] * (width - len(text))] for text in texts]
    return torch.tensor([[*before, *row] for row in rows])


line = st.text("abc d.é", max_size=12).map(str.strip)


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(line, line), min_size=1, max_size=6))
def test_bleu_and_chrf_equal_sacrebleu(pairs):
    sacrebleu = pytest.importorskip("sacrebleu")
    written, wanted = ([pair[i] for pair in pairs] for i in range(2))
    for kind, other in (("bleu", sacrebleu.corpus_bleu), ("chrf", sacrebleu.corpus_chrf)):
        metric = MetricSpec.model_validate(kind)
        found = metric.compute(codes(written, 0, 0), codes(wanted, 0)).item()
        assert found == pytest.approx(other(written, [wanted]).score, abs=1e-6), kind


def test_metrics_of_symbols_count_every_symbol_once():
    predictions = torch.tensor([[3.0, 1, 0], [1.0, 4, 0]])
    targets = torch.tensor([[2, 0], [6, 0]])
    found = {
        kind: MetricSpec.model_validate(kind).compute(predictions, targets).item()
        for kind in ("token_accuracy", "token_perplexity")
    }
    assert found["token_accuracy"] == pytest.approx(5 / 8)
    assert found["token_perplexity"] == pytest.approx(2.718281828 ** (4 / 8))


def test_intervals_draw_texts():
    draw = random.Random(0)
    wanted = [" ".join(draw.choices("abcde", k=6)) for _ in range(60)]
    written = [text if draw.random() < 0.6 else text[::-1] for text in wanted]
    metric = MetricSpec.model_validate("chrf")
    p, y = codes(written, 0, 0), codes(wanted, 0)
    found = bootstrap(metric, p, y, resamples=300)
    assert found.value == pytest.approx(metric.compute(p, y).item())
    assert found.low < found.value < found.high
    lead = paired_difference(metric, codes(wanted, 0, 0), p, y, resamples=300)
    assert lead.value == pytest.approx(100 - found.value)
    assert lead.low < lead.value < lead.high


# Texts of symbols


@pytest.mark.parametrize(
    "kind",
    [
        {"kind": "characters"},
        {"kind": "words", "min_count": 1, "punctuation": True, "lowercase": False},
        {"kind": "byte_pairs", "vocabulary": 300},
    ],
    ids=lambda kind: kind["kind"],
)
def test_texts_come_back_from_their_symbols(kind):
    texts = ["Don't (ever) stop: it's well-known!", "Two words, 3 % more."]
    texts[1] = texts[1].replace(" %", "%") if kind["kind"] == "words" else texts[1]
    symbols = TokenizerSpec.model_validate(kind).fit(texts)
    encode, join = symbols.encoder(), symbols.joiner()
    assert [join(encode(text)) for text in texts] == texts


def test_unknown_symbols_are_shown_as_such():
    symbols = TokenizerSpec.model_validate({"kind": "words", "min_count": 1}).fit(["a b"])
    assert symbols.joiner()(symbols.encoder()("a z b")) == "a � b"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (19, "nineteen"),
        (40, "forty"),
        (101, "one hundred and one"),
        (1_000, "one thousand"),
        (2_407, "two thousand, four hundred and seven"),
        (90_021, "ninety thousand and twenty-one"),
    ],
)
def test_numbers_in_words_by_hand(number, words):
    assert in_words(number) == words
