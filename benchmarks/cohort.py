"""Throughput of K replicas trained together, over one after another.

    python benchmarks/cohort.py [--quick]

One replica after another is a hand-written loop with torch's fused Adam, the fastest of the
loops in `train_overhead.py`. A cohort is what `modelscale` trains: K models of one shape that
differ in seed and learning rate, one thread. `auto` is the size that is chosen by measuring on
this machine. A ratio is within rounds: above 1 the cohort is faster. `apart` is how far, after
two epochs, the predicted probabilities of a replica of the cohort are from those of the same
replica trained alone by the trainer: the largest difference of each of up to eight replicas,
their median and their maximum. Rounding differs in the last bit; where it flips a ReLU, two
trainings part company, as two machines would.
"""

import sys
from collections.abc import Callable
from statistics import median

import torch
from loops import Loop
from problems import CONVOLUTION, LARGE, LOSS, MIDDLE, SMALL, TRANSFORMER, Problem
from timing import UNITS, in_turn, machine, ratios, spread

from modelscale.training.determinism import pin
from modelscale.training.grouping import best_size, measure
from modelscale.training.replica import Replica
from modelscale.training.trainer import Trainer

CPU = torch.device("cpu")
SIZES = (1, 4, 16, 64)
MOST_COMPARED = 8


def epochs_of(replicas: list[Replica]) -> Callable[[], object]:
    """Return a function that trains a cohort for its next epoch."""
    events = Trainer(replicas, (), LOSS, CPU).run()

    def run() -> object:
        torch.use_deterministic_algorithms(True)
        event = next(events)
        torch.use_deterministic_algorithms(False)
        return event

    return run


def chosen_size(replicas: list[Replica]) -> int:
    """Return the size that modelscale chooses on this machine."""
    torch.use_deterministic_algorithms(True)
    size = best_size(measure(replicas, CPU))
    torch.use_deterministic_algorithms(False)
    return size


def compare(problem: Problem, repetitions: int) -> None:
    """Time one problem and print its rows."""
    replicas = problem.replicas(SIZES[-1])
    auto = chosen_size(replicas)
    counts = {f"K = {size}": size for size in SIZES} | {f"auto: K = {auto}": auto}
    calls: dict[str, Callable[[], object]] = {
        "one after another": Loop(replicas[0], fused=True).run
    }
    calls |= {name: epochs_of(replicas[:size]) for name, size in counts.items()}
    seconds = in_turn(calls, repetitions)
    alone = seconds["one after another"]
    for name, seen in seconds.items():
        size = counts.get(name, 1)
        each = [s / size for s in seen]
        step = spread([1e6 * s / problem.steps for s in each])
        ratio = ratios(alone, each)
        apart = f"{_told(differences(problem, size)):>20}" if size > 1 else ""
        print(
            f"{problem.name:38}{name:18}{step.middle:9.0f} ±{step.half:5.0f}"
            f"{ratio.middle:9.2f} ±{ratio.half:5.2f}{apart}",
            flush=True,
        )


def differences(problem: Problem, size: int) -> list[float]:
    """Return how far predictions of some replicas are from those alone, the largest of each."""
    replicas = problem.replicas(size, epochs=2)
    together = predictions(replicas)
    return [
        (predictions([replicas[k]])[0] - together[k]).abs().max().item()
        for k in range(0, size, max(1, size // MOST_COMPARED))
    ]


def _told(apart: list[float]) -> str:
    return f"{median(apart):.0e} / {max(apart):.0e}"


def predictions(replicas: list[Replica]) -> torch.Tensor:
    """Return each trained replica's probabilities (K, N, C) of the training examples."""
    trainer = Trainer(replicas, (), LOSS, CPU)
    for _ in trainer.run():
        pass
    x = replicas[0].data.x.take(replicas[0].rows)
    return trainer.cohort.outputs(trainer.cohort.weights, x, shared=True).softmax(-1)


def main() -> None:
    repetitions = 3 if "--quick" in sys.argv else 7
    pin(1)
    torch.use_deterministic_algorithms(False)
    print(f"{machine()}. {UNITS}")
    print(f"{'problem':38}{'':18}{'µs a step and replica':>16}{'speed-up':>10}{'apart':>26}")
    for problem in (SMALL, MIDDLE, LARGE, CONVOLUTION, TRANSFORMER):
        compare(problem, repetitions)


if __name__ == "__main__":
    main()
