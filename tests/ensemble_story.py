"""Specs and runs that the stories of `modelscale ensemble` share."""

from command_line import cli

WINE = """\
data: {source: wine, split: {test: 0.25, validation: 0.2, seed: 0}}
model: {kind: mlp, hidden: [12], dropout: 0.1}
optimizer: {kind: adam, lr: 1e-2}
train: {epochs: 4, batch_size: 32}
evaluate: {resamples: 100}
"""
DIABETES = """\
task: regression
data: {source: diabetes, split: {test: 0.2, validation: 0.2, seed: 0}}
model: {kind: mlp, hidden: [12]}
optimizer: {kind: adam, lr: 1e-2}
train: {epochs: 4, batch_size: 32}
evaluate: {resamples: 100}
"""


def prepared(folder):
    """Write the specs, train three seeds and a run on another split; return the folder."""
    (folder / "wine.yaml").write_text(WINE)
    (folder / "diabetes.yaml").write_text(DIABETES)
    for name, more in (
        ("seeds", ("--set", "train.seeds=3")),
        ("moved", ("--set", "data.split.seed=1")),
    ):
        done = cli(folder, "train", "wine.yaml", "-q", "--name", name, *more)
        assert done.code == 0, done.err
    return folder


def made(folder, config, section, *words):
    """Return the document of an ensemble."""
    done = cli(
        folder, "ensemble", config, "--set", f"ensemble={section}", "--json", "-q", *words
    )
    assert done.code == 0, done.err
    return done.document
