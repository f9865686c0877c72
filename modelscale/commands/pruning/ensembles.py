"""An ensemble made smaller: each of its members, which then answer together as before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelscale.commands.pruning.bench import Bench
from modelscale.commands.pruning.steps import all_steps
from modelscale.commands.trained_model import TrainedModel, shown
from modelscale.errors import UsageError
from modelscale.pruning.kinds.base import PruneSpec
from modelscale.pruning.kinds.structured import Structured
from modelscale.seeds import derive

if TYPE_CHECKING:
    from modelscale.commands.assembly import Assembly
    from modelscale.commands.ensembling.workshop import Workshop
    from modelscale.training.ensemble_artifact import MemberFiles


def check_members(assembly: Assembly, source: TrainedModel, section: PruneSpec) -> None:
    """Raise where members cannot be pruned one by one.

    Raises:
        SpecError: If the section is about one model.
        UsageError: If the members alone are none.
    """
    facts = json.loads(source.checkpoint.files["model.json"])
    if facts["combination"]["kind"] == "sum":
        raise UsageError(
            f"{shown(source.checkpoint.path)}: its members learnt what those before had left, "
            "so that none can be trained again alone; prune the model that "
            "`ensemble --distill` makes"
        )
    for step in section.parts():
        if isinstance(step, Structured) and step.sweep is not None:
            raise assembly.fault("prune.sweep", "is for one model, and this is an ensemble")
        retrain = getattr(step, "retrain", None)
        if retrain is not None and retrain.rewind == "weights":
            raise assembly.fault(
                "prune.retrain.rewind", "members of an ensemble keep no initial weights"
            )


def prune_members(
    shop: Workshop, source: TrainedModel, section: PruneSpec
) -> tuple[Mapping[str, bytes], int, list[dict[str, Any]]]:
    """Make each member smaller; return the ensemble's files, its step, and what was done.

    How members are combined, and the temperature, stay as they are. Each member is aimed at
    the target, judged against itself, and trained again on the whole training part.
    """
    from modelscale.training.artifact import dump_network, load_model
    from modelscale.training.ensemble_artifact import (
        MemberFiles,
        blueprint_of,
        dump_ensemble,
        member_files,
    )

    made: list[MemberFiles] = []
    steps: list[dict[str, Any]] = []
    seed, most = shop.assembly.experiment.seed, 0
    for number, member in enumerate(member_files(source.checkpoint.files)):
        own = load_model(member.files)
        bench = Bench(shop, own, source.fold, derive(seed, "member", number))
        shop.tell.note(f"member {member.label}")
        found = all_steps(bench, section, f"member-{number:02d}-")
        made.append(MemberFiles(member.label, dump_network(found.model)))
        steps += [{"member": member.label, **step} for step in found.steps]
        most = max(most, found.step)
    return dump_ensemble(made, blueprint_of(source.checkpoint.files)), most, steps
