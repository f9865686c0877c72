"""CPU time of a training step: modelscale's trainer beside the loops that people write.

    python benchmarks/train_overhead.py [--quick]

Every row trains the same network from the same weights on the same batches with Adam, one
thread, one model: modelscale's trainer (K = 1, with its deterministic algorithms and its check
that every loss and gradient is finite), a hand-written loop over tensors (torch's default
optimizer and `fused=True`), the DataLoader of most tutorials, and skorch (extra `bench`).
The last column is the largest difference of a parameter from the trainer's after one epoch,
which shows that they do the same. Ratios are within rounds, to the trainer.
"""

import sys
from collections.abc import Callable

import torch
from loops import LoaderLoop, Loop, SkorchLoop
from problems import CONVOLUTION, LARGE, LOSS, MIDDLE, SMALL, Problem
from timing import UNITS, in_turn, machine, ratios, spread

from modelscale.training.determinism import pin
from modelscale.training.replica import Replica
from modelscale.training.trainer import Trainer

CPU = torch.device("cpu")


class Ours:
    """modelscale's trainer, an epoch at a time."""

    def __init__(self, replica: Replica) -> None:
        self.trainer = Trainer([replica], (), LOSS, CPU)
        self.network = self.trainer.cohort.network
        self.events = self.trainer.run()

    def run(self) -> float:
        torch.use_deterministic_algorithms(True)
        report = next(self.events)
        torch.use_deterministic_algorithms(False)
        return report.values[0]["train/loss"]


def contenders(replica: Replica) -> dict[str, Ours | Loop | SkorchLoop]:
    """Return all loops, by name."""
    found: dict[str, Ours | Loop | SkorchLoop] = {
        "modelscale": Ours(replica),
        "loop, fused=True": Loop(replica, fused=True),
        "loop": Loop(replica, fused=None),
        "DataLoader": LoaderLoop(replica),
    }
    try:
        return found | {"skorch": SkorchLoop(replica)}
    except ImportError:
        return found


def compare(problem: Problem, repetitions: int) -> None:
    """Time one problem and print its rows."""
    (replica,) = problem.replicas(1)
    loops = contenders(replica)
    for loop in loops.values():
        loop.run()
    parameters = {name: _vector(loop) for name, loop in loops.items()}
    calls: dict[str, Callable[[], object]] = {name: loop.run for name, loop in loops.items()}
    seconds = in_turn(calls, repetitions)
    ours = seconds["modelscale"]
    for name, seen in seconds.items():
        step = spread([1e6 * s / problem.steps for s in seen])
        ratio = ratios(seen, ours)
        apart = (parameters[name] - parameters["modelscale"]).abs().max().item()
        print(
            f"{problem.name:34}{name:18}{step.middle:9.0f} ±{step.half:5.0f}"
            f"{ratio.middle:9.2f} ±{ratio.half:5.2f}{apart:12.1e}",
            flush=True,
        )
    if "skorch" not in seconds:
        print(f"{problem.name:34}skorch             left out: pip install 'modelscale[bench]'")


def _vector(loop: Ours | Loop | SkorchLoop) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in loop.network.parameters()])


def main() -> None:
    repetitions = 5 if "--quick" in sys.argv else 25
    pin(1)
    torch.use_deterministic_algorithms(False)
    print(f"{machine()}. {UNITS}")
    print(f"{'problem':34}{'':18}{'µs a step':>16}{'over modelscale':>16}{'apart':>12}")
    for problem in (SMALL, MIDDLE, LARGE, CONVOLUTION):
        compare(problem, repetitions)


if __name__ == "__main__":
    main()
