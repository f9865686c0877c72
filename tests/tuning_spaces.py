"""Small specs and search spaces for the tests of the search."""

from modelscale.commands.experiment import Experiment
from modelscale.spec.loader import load_text
from modelscale.tuning.history import Finished
from modelscale.tuning.space import space_of

TWO_MODELS = """
    model:
      choices:
        - {kind: mlp, hidden: [64]}
        - {kind: cnn}
    model.dropout: {low: 0.0, high: 0.5, when: {model.kind: [mlp]}}
    optimizer.lr: {low: 1e-4, high: 1e-1, log: true}
"""
NUMBERS = """
    optimizer.lr: {low: 1e-4, high: 1e-1, log: true}
    optimizer.weight_decay: {low: 0.0, high: 0.1}
    train.batch_size: {low: 16, high: 128, log: true}
"""
FINITE = """
    optimizer.lr: {choices: [1e-3, 1e-2]}
    model.dropout: {low: 0.0, high: 0.3, step: 0.1}
    train.epochs: {low: 2, high: 4}
"""


def experiment(space, extra="", optimizer="{kind: adamw}", model="{kind: mlp}"):
    """Return the spec with a search over `space`."""
    text = (
        f"data: {{source: digits}}\nmodel: {model}\noptimizer: {optimizer}\n"
        f"tune:\n{extra}  space:{space}"
    )
    return load_text(text, "s.yaml", Experiment).spec


def space(text, **kwargs):
    """Return the search space of a text."""
    spec = experiment(text, **kwargs)
    return space_of(spec.tune.space, spec)


def loss(params):
    """Return a smooth loss of whatever parameters there are."""
    import json
    import math

    total = 0.0
    for n, (key, value) in enumerate(sorted(params.items())):
        if isinstance(value, (int, float)):
            scaled = math.log10(value) / 3 if "lr" in key else value / (1 + abs(value))
            total += (n + 1) * (scaled - 0.3) ** 2
        else:
            total += 0.01 * len(json.dumps(value))
    return total


def search(propose_batch, total, batch):
    """Return the trials of a search, asked in batches that begin at multiples of `batch`."""
    return search_on([], propose_batch, total, batch)


def search_on(finished, propose_batch, total, batch):
    """Return the trials of a search that goes on, as the program does it.

    The batch in which it goes on begins where it began before; what is done of it is not done
    again.
    """
    done = list(finished)
    while len(done) < total:
        first = len(done) // batch * batch
        params = propose_batch(done[:first], min(batch, total - first))
        if len(params) + first <= len(done):
            break
        for point in params[len(done) - first :]:
            done.append(trial(point, len(done)))
    return done


def trial(params, number):
    """Return how a trial came out; some stop early and some fail."""
    value = loss(params)
    if number % 7 == 5:
        return Finished(params, (value + 1,), "stopped", {1: value + 2, 2: value + 1})
    if number % 11 == 8:
        return Finished(params, (None,), "diverged")
    return Finished(params, (value,), "complete", {1: value + 1, 2: value})
