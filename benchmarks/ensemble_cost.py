"""Training an ensemble as one cohort, over a loop over its members and over torchensemble.

    python benchmarks/ensemble_cost.py [--quick]

8, 16 and 32 members of one shape that differ in their seed, one thread. The loop trains one
member after another with torch's fused Adam, the fastest loop in `train_overhead.py`.
`torchensemble` (`pip install torchensemble`) trains its `VotingClassifier` on the same data
with the same optimizer, through a DataLoader, as its users do; it is left out where it is not
installed. `chosen` is the cohort size that `modelscale ensemble` takes after measuring. Ratios
are within rounds: above 1 the ensemble of modelscale is faster.
"""

import io
import sys
from collections.abc import Callable
from contextlib import redirect_stdout

import torch
from loops import Loop
from problems import LOSS, MIDDLE, SMALL, Problem
from timing import UNITS, in_turn, machine, ratios, spread

from modelscale.training.determinism import pin
from modelscale.training.grouping import best_size, divide, measure
from modelscale.training.replica import Replica
from modelscale.training.trainer import Trainer

CPU = torch.device("cpu")
MEMBERS = (8, 16, 32)


def looped(replicas: list[Replica]) -> Callable[[], object]:
    """Return a function that trains each member for its next epoch, one after another."""
    loops = [Loop(replica, fused=True) for replica in replicas]

    def run() -> None:
        for loop in loops:
            loop.run()

    return run


def as_ensemble(replicas: list[Replica], size: int) -> Callable[[], object]:
    """Return a function that trains all members for their next epoch, in cohorts."""
    trainings = [
        Trainer([replicas[k] for k in cohort], (), LOSS, CPU).run()
        for cohort in divide(list(range(len(replicas))), size)
    ]

    def run() -> None:
        torch.use_deterministic_algorithms(True)
        for events in trainings:
            next(events)
        torch.use_deterministic_algorithms(False)

    return run


def chosen_size(replicas: list[Replica]) -> int:
    """Return the cohort size that is fastest here."""
    torch.use_deterministic_algorithms(True)
    size = best_size(measure(replicas, CPU))
    torch.use_deterministic_algorithms(False)
    return size


def torchensemble(problem: Problem, members: int) -> Callable[[], object] | None:
    """Return one epoch of torchensemble's voting classifier; None where it isn't installed."""
    try:
        from torchensemble import VotingClassifier
    except ImportError:
        return None
    from torch.utils.data import DataLoader, TensorDataset

    replica = problem.replicas(1)[0]
    data = replica.data
    x, y = data.x.take(replica.rows), data.y[replica.rows]
    loader = DataLoader(TensorDataset(x, y), replica.batch_size, shuffle=True)
    outputs = replica.loss.outputs(data.targets)

    def network() -> torch.nn.Module:
        return replica.model.build(data.inputs, outputs)

    class Network(torch.nn.Sequential):
        def __init__(self) -> None:
            super().__init__(*network())

    made = VotingClassifier(estimator=Network, n_estimators=members, cuda=False, n_jobs=1)
    made.set_optimizer("Adam", lr=replica.optimizer.lr)

    def run() -> None:
        with redirect_stdout(io.StringIO()):  # it prints a line for every member
            made.fit(loader, epochs=1, log_interval=10**9, save_model=False)

    return run


def compare(problem: Problem, members: int, repetitions: int) -> None:
    """Time one ensemble and print its rows."""
    replicas = problem.replicas(members, epochs=repetitions + 2)
    size = chosen_size(replicas)
    calls: dict[str, Callable[[], object]] = {
        "loop over members": looped(replicas),
        f"ensemble, chosen: {size} at once": as_ensemble(replicas, size),
    }
    other = torchensemble(problem, members)
    if other is not None:
        calls["torchensemble"] = other
    seconds = in_turn(calls, repetitions)
    own = seconds[f"ensemble, chosen: {size} at once"]
    for name, seen in seconds.items():
        step = spread([1e6 * s / problem.steps / members for s in seen])
        ratio = ratios(seen, own)
        print(
            f"{problem.name:38}{members:4}  {name:32}{step.middle:9.0f} ±{step.half:5.0f}"
            f"{ratio.middle:9.2f} ±{ratio.half:5.2f}",
            flush=True,
        )


def main() -> None:
    quick = "--quick" in sys.argv
    pin(1)
    torch.use_deterministic_algorithms(False)
    print(f"{machine()}. {UNITS}")
    head = f"{'problem':38}{'K':>4}  {'':32}{'µs a step and member':>16}{'over ensemble':>18}"
    print(head)
    for problem in (SMALL, MIDDLE):
        for members in MEMBERS[:1] if quick else MEMBERS:
            compare(problem, members, 3 if quick else 7)


if __name__ == "__main__":
    main()
