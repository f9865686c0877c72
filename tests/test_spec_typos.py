"""A misspelt word gets the right suggestion."""

import random

import pytest

from modelscale.commands.experiment import Experiment
from modelscale.components import Component
from modelscale.errors import SpecError, did_you_mean, nearest
from modelscale.spec.loader import load_text

GOOD = {
    "version": "1",
    "seed": "0",
    "data": "{source: digits, split: {test: 0.2, validation: 0.2}, standardize: true}",
    "model": "{kind: mlp, hidden: [8], dropout: 0.1}",
    "loss": "cross_entropy",
    "optimizer": "{kind: adam, lr: 1e-3}",
    "scheduler": "constant",
    "regularization": "{l2: 1e-4}",
    "train": "{epochs: 4, batch_size: 64, clip_norm: 1.0, precision: fp32, keep: best}",
    "metrics": "[accuracy, f1]",
    "evaluate": "{resamples: 1000, confidence: 0.95}",
    "budget": "{time_s: 30m}",
    "device": "cpu",
}
WORDS = [
    "version",
    "seed",
    "data",
    "source",
    "digits",
    "split",
    "test",
    "validation",
    "standardize",
    "model",
    "mlp",
    "hidden",
    "dropout",
    "loss",
    "cross_entropy",
    "optimizer",
    "adam",
    "scheduler",
    "constant",
    "regularization",
    "train",
    "epochs",
    "batch_size",
    "clip_norm",
    "precision",
    "metrics",
    "accuracy",
    "evaluate",
    "resamples",
    "confidence",
    "budget",
    "time_s",
    "device",
]


def typo(word: str, chance: random.Random) -> str:
    """Return the word with one letter dropped, doubled, changed or swapped with the next."""
    at = chance.randrange(len(word) - 1)
    letter = chance.choice("abcdefghijklmnopqrstuvwxyz")
    return chance.choice(
        (
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
            word[: at + 1] + letter + word[at + 2 :],
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        )
    )


def test_nine_in_ten_of_200_typos_get_the_right_word():
    chance = random.Random(0)
    text = "\n".join(f"{key}: {value}" for key, value in GOOD.items())
    assert load_text(text, "good.yaml", Experiment)
    right = tried = 0
    wrong = []
    while tried < 200:
        word = chance.choice(WORDS)
        misspelt = typo(word, chance)
        if misspelt in WORDS or misspelt == word:
            continue
        tried += 1
        changed = text.replace(word, misspelt, 1)
        with pytest.raises(SpecError) as caught:
            load_text(changed, "bad.yaml", Experiment)
        if f"did you mean {word!r}" in str(caught.value):
            right += 1
        else:
            wrong.append((word, misspelt, str(caught.value)))
    assert right >= 180, wrong


@pytest.mark.parametrize(
    ("word", "options", "expected"),
    [
        ("rl", ["lr", "eps"], "lr"),
        ("LR", ["lr", "eps"], "lr"),
        ("batch-size", ["batch_size", "beta1"], "batch_size"),
        ("epoch", ["epochs", "ema"], "epochs"),
        ("zzz", ["lr", "eps"], None),
        ("", ["lr"], None),
    ],
)
def test_nearest(word, options, expected):
    assert nearest(word, options) == expected


def test_options_are_listed_in_order():
    assert did_you_mean("mpl", ["mlp", "cnn"]) == "; did you mean 'mlp'? (one of: cnn, mlp)"


def test_kinds_are_found_by_their_files():
    from modelscale.models.base import ModelSpec

    assert issubclass(ModelSpec, Component)
    assert "mlp" in ModelSpec.kinds()
