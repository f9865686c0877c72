"""The replicas of a training run: which there are, and how each one is kept and measured."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelscale.commands.prediction_files import LETTERS_FROM
from modelscale.evaluation.metrics._edits import text_of
from modelscale.runs.part import RunPart
from modelscale.tensors import Part

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.commands.measuring import Measured
    from modelscale.training.replica import Replica
    from modelscale.training.trainer import Outcome


@dataclass(frozen=True)
class Member:
    """One replica of a run: a seed, a fold of cross-validation, or both.

    Attributes:
        label: Names its folder, such as `seed-3` or `fold-1-seed-0`.
        fold: Round of cross-validation.
        seed: Of everything random.
    """

    label: str
    fold: int
    seed: int


@dataclass(frozen=True)
class MemberResult:
    """What came out of one member.

    Attributes:
        member: Which one.
        ending: How its training ended.
        best_epoch: Epoch whose weights were kept.
        score: On the validation part; larger is better.
        parts: Measurements by part, of the parts that have rows.
    """

    member: Member
    ending: str
    best_epoch: int
    score: float
    parts: dict[Part, Measured]

    def to_json(self) -> dict[str, Any]:
        """Return the member's entry in the document."""
        return {
            "label": self.member.label,
            "fold": self.member.fold,
            "seed": self.member.seed,
            "ending": self.ending,
            "best_epoch": self.best_epoch,
            "metrics": {
                part: measured.evaluation.to_json()["metrics"]
                for part, measured in self.parts.items()
            },
        }


def members_of(assembly: Assembly) -> list[Member]:
    """Return the members of a run: every fold with every seed."""
    experiment = assembly.experiment
    folds, seeds = assembly.folds, experiment.train.seeds
    members = []
    for fold in range(folds):
        for seed in range(experiment.seed, experiment.seed + seeds):
            words = [f"fold-{fold}"] * (folds > 1) + [f"seed-{seed}"] * (
                seeds > 1 or folds == 1
            )
            members.append(Member("-".join(words), fold, seed))
    return members


def keep(
    part: RunPart,
    member: Member,
    replica: Replica,
    outcome: Outcome,
    assembly: Assembly,
) -> MemberResult:
    """Save a trained member's model, measure it, and return what came out.

    Done again after an interruption, it writes the same files.
    """
    from modelscale.commands.measuring import measure
    from modelscale.training.artifact import dump_model, load_model
    from modelscale.training.cohort import build_network
    from modelscale.training.layout import Layout

    files = dump_model(replica, outcome.weights, Layout.of(build_network(replica)))
    progress = outcome.progress
    kept_best = progress.best_epoch > 0 and replica.plan.keep == "best"
    step = progress.best_step if kept_best else outcome.step
    store = part.checkpoints()
    if step != store.pointed("last"):
        store.save(step, files)
    store.point("best", step)
    store.prune(keep={step}, newest=1)
    model = load_model(files)
    experiment = assembly.experiment
    names: tuple[Part, ...] = ("validation", "test")
    parts = {
        name: measure(model, replica.data, name, assembly.goal.metrics, experiment.evaluate)
        for name in names
        if len(replica.data.rows[name])
    }
    for name, measured in parts.items():
        part.write(f"predictions-{name}.csv", predictions_csv(measured, replica))
    epoch = progress.best_epoch if kept_best else outcome.epoch
    return MemberResult(member, outcome.ending, epoch, progress.best_score, parts)


def predictions_csv(measured: Measured, replica: Replica) -> bytes:
    """Return a table of rows, targets and answers."""
    preprocessing = replica.data.preprocessing
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    rows, predictions = measured.rows.tolist(), measured.predictions.tolist()
    targets = measured.targets.tolist()
    if replica.data.task == "classification":
        labels = preprocessing.labels
        table.writerow(["row", "target", "prediction", *[f"p({label})" for label in labels]])
        for row, target, shares in zip(rows, targets, predictions, strict=True):
            best = labels[max(range(len(labels)), key=shares.__getitem__)]
            table.writerow([row, labels[target], best, *[f"{share:.6g}" for share in shares]])
    elif replica.data.task in LETTERS_FROM:
        first, of_target = LETTERS_FROM[replica.data.task]
        table.writerow(["row", "target", "prediction"])
        for row, target, codes in zip(rows, targets, predictions, strict=True):
            table.writerow([row, text_of(target[of_target:]), text_of(codes[first:])])
    else:
        names = preprocessing.target_names
        heads = [f"{kind}({name})" for name in names for kind in ("target", "prediction")]
        table.writerow(["row", *heads])
        for row, target, values in zip(rows, targets, predictions, strict=True):
            pairs = zip(target, values, strict=True)
            table.writerow([row, *[f"{number:.9g}" for pair in pairs for number in pair]])
    return text.getvalue().encode()
