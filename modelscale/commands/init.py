"""Starter specs: complete, valid, and small enough to read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelscale.commands.init_data import spec_of
from modelscale.commands.schema import FILE_NAME, experiment_schema
from modelscale.errors import CannotCreate, UsageError, did_you_mean

_HEAD = f"""\
# yaml-language-server: $schema={FILE_NAME}
version: 1
"""

_DIGITS = """\
# Handwritten digits, 1,797 images of 8x8: about 98 % accuracy in seconds.
data:
  source: digits
  split: {test: 0.2, validation: 0.2, stratify: true, seed: 0}
model: {kind: mlp, hidden: [128, 128], dropout: 0.1}
loss: cross_entropy
optimizer: {kind: adam, lr: 1e-3}
train: {epochs: 40, batch_size: 64}
metrics: [accuracy, f1]
"""

_TABLE = """\
# A table with one row an example; the class is in the column `target`.
data:
  source: {kind: csv, path: table.csv, target: target}
  split: {test: 0.2, validation: 0.2, stratify: true, seed: 0}
model: {kind: mlp, hidden: [64, 64], dropout: 0.1}
optimizer: {kind: adam, lr: 1e-3}
train:
  epochs: 100
  batch_size: 64
  early_stopping: {patience: 10}
metrics: [accuracy]
"""

_REGRESSION = """\
# A number to predict from the other columns of a table.
task: regression
data:
  source: diabetes      # or: {kind: csv, path: table.csv, target: price}
  split: {test: 0.2, validation: 0.2, seed: 0}
model: {kind: mlp, hidden: [64, 64]}
loss: mean_squared_error
optimizer: {kind: adam, lr: 1e-3}
train:
  epochs: 200
  batch_size: 32
  early_stopping: {patience: 20}
metrics: [rmse, r2]
"""

_TUNE = (
    _DIGITS
    + """\
tune:
  sampler: {kind: tpe}
  metric: validation/accuracy
  n_trials: 32
  early_stop: {kind: successive_halving}
  space:
    optimizer.lr: {low: 1e-4, high: 1e-1, log: true}
    model.dropout: {low: 0.0, high: 0.5}
    model.hidden: {choices: [[64, 64], [128, 128], [256, 256]]}
"""
)

TEMPLATES = {"digits": _DIGITS, "table": _TABLE, "regression": _REGRESSION, "tune": _TUNE}
_NEXT = {"tune": "tune"}


@dataclass(frozen=True)
class Written:
    """A starter spec that was written.

    Attributes:
        spec: Its file.
        schema: The schema beside it, for editors.
        command: What to run next.
    """

    spec: Path
    schema: Path
    command: str
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the command's JSON document."""
        return {"files": [str(self.spec), str(self.schema)], "next": self.command}


def starter(template: str) -> str:
    """Return the text of a starter spec.

    Raises:
        UsageError: If there is no such template.
    """
    if template not in TEMPLATES:
        raise UsageError(f"no template {template!r}{did_you_mean(template, TEMPLATES)}")
    return _HEAD + TEMPLATES[template]


def write_starter(
    path: Path, template: str, data: Path | None = None, target: str | None = None
) -> Written:
    """Write a starter spec and the schema beside it; an existing spec stays as it is.

    Args:
        path: Of the spec.
        template: Which one, where there is no `data`.
        data: A file or folder of the user's own that the spec is to be for.
        target: Its column to learn.

    Raises:
        DataError: If the data is damaged.
        InputMissing: If it is not there.
        UsageError: If there is no such template, or no such target.
        CannotCreate: If there is such a file already, or none can be made there.
    """
    if data is None and target is not None:
        raise UsageError("--target goes with --data")
    text = starter(template) if data is None else _HEAD + spec_of(data, target)
    path = path if path.suffix in {".yaml", ".yml"} else path.with_name(f"{path.name}.yaml")
    schema = path.with_name(FILE_NAME)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
        schema.write_text(experiment_schema().text(), encoding="utf-8")
    except FileExistsError:
        raise CannotCreate(f"{path}: exists already; give another name") from None
    except FileNotFoundError:
        raise CannotCreate(f"{path}: there is no folder {path.parent}") from None
    return Written(path, schema, f"modelscale {_NEXT.get(template, 'train')} {path}")
