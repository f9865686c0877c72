"""The same search by `modelscale tune` and by Optuna with the objectives that people write.

    python benchmarks/tune_throughput.py [--quick] [--case N]

64 trials of learning rate, dropout and weight decay (AdamW), the same epochs, batches and rows,
TPE with the same start-up trials. Wall time on all cores of the machine: `tune` decides by
itself how it uses them; each of the others gets one thread or torch's own number, whichever was
faster for its first trials, which is shown. Run it on an idle machine. Seconds of CPU time, of
all processes together, stand beside. Imports and reading the data are left out of all of them;
writing the run tree is ours to pay (the objectives below keep nothing). The searches' mean best
validation accuracy is shown, since a faster search that finds less would be no gain.

Ray Tune is timed too where `ray[tune]` is installed: the same objective on tensors in place,
the same sampler, as many trials at a time as there are cores, in workers that are used again,
without the start of Ray; the CPU time of its processes is not counted.
"""

import argparse
import importlib.util
import logging
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import optuna
import torch
from timing import machine, spread
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from modelscale.commands.assembly import Assembly
from modelscale.commands.experiment import Experiment
from modelscale.commands.launching import Request, prepare
from modelscale.commands.telling import Unheard
from modelscale.commands.tune import tune
from modelscale.spec.loader import load_text

TRIALS = 64
RAY = "Ray Tune, tensors in place"
TENSORS = "Optuna, tensors in place"
LOADER = "Optuna, DataLoader"


@dataclass(frozen=True)
class Case:
    """A search.

    Attributes:
        name: In the table.
        model: The network, as YAML.
        batch: Examples of a step.
        epochs: Of a trial.
    """

    name: str
    model: str
    batch: int
    epochs: int

    def spec(self, sampler: str, early_stop: str, trials: int) -> str:
        """Return the YAML of the search."""
        return f"""
data: {{source: digits, split: {{test: 0.2, validation: 0.2, seed: 0}}}}
model: {self.model}
optimizer: {{kind: adamw}}
metrics: [accuracy]
train: {{epochs: {self.epochs}, batch_size: {self.batch}, checkpoint_s: 600}}
tune:
  metric: validation/accuracy
  sampler: {sampler}
  {early_stop}
  n_trials: {trials}
  confirm_seeds: 0
  space:
    optimizer.lr: {{low: 1e-4, high: 1e-1, log: true}}
    optimizer.weight_decay: {{low: 1e-5, high: 1e-1, log: true}}
    model.dropout: {{low: 0.05, high: 0.5}}
"""


def perceptron(width: int, batch: int) -> Case:
    """Return the search of a perceptron with two hidden layers."""
    model = f"{{kind: mlp, hidden: [{width}, {width}], dropout: 0.1}}"
    return Case(f"mlp 64-{width}-{width}-10, batch {batch}", model, batch, 10)


CASES = (
    perceptron(64, 32),
    perceptron(128, 64),
    perceptron(512, 128),
    Case(
        "cnn 8×8, channels 8-16, batch 64",
        "{kind: cnn, channels: [8, 16], dropout: 0.1}",
        64,
        6,
    ),
)


def request(case: Case, root: Path, sampler: str, early_stop: str, trials: int) -> Request:
    """Return the command line of a search."""
    loaded = load_text(case.spec(sampler, early_stop, trials), "benchmark", Experiment)
    return Request("tune", loaded, "search", root, ())


def ours(case: Case, sampler: str, early_stop: str, trials: int) -> float:
    """Return the best validation accuracy that `modelscale tune` finds."""
    with tempfile.TemporaryDirectory() as folder:
        torch.set_num_threads(os.cpu_count() or 1)
        found = tune(request(case, Path(folder), sampler, early_stop, trials), Unheard())
    return float(found.document["best"]["value"])


def optunas(case: Case, assembly: Assembly, loop: Callable[..., float], trials: int) -> float:
    """Return the best validation accuracy that Optuna finds with an objective."""
    sampler = optuna.samplers.TPESampler(seed=0, multivariate=True)
    study = optuna.create_study(direction="maximize", sampler=sampler)

    def objective(trial: optuna.Trial) -> float:
        lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
        decay = trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True)
        dropout = trial.suggest_float("dropout", 0.05, 0.5)
        network = network_of(assembly, dropout)
        optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=decay)
        return loop(case, assembly, network, optimizer)

    study.optimize(objective, n_trials=trials)
    return float(study.best_value)


def rays(case: Case, assembly: Assembly, trials: int) -> float:
    """Return the best validation accuracy that Ray Tune finds with tensors in place."""
    from ray import tune as ray_tune
    from ray.tune.search.optuna import OptunaSearch

    def objective(point: dict[str, float], case: Case, assembly: Assembly) -> None:
        torch.set_num_threads(1)
        network = network_of(assembly, point["dropout"])
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=point["lr"], weight_decay=point["weight_decay"]
        )
        ray_tune.report({"accuracy": with_tensors(case, assembly, network, optimizer)})

    sampler = optuna.samplers.TPESampler(seed=0, multivariate=True)
    with tempfile.TemporaryDirectory() as folder:
        tuner = ray_tune.Tuner(
            ray_tune.with_parameters(objective, case=case, assembly=assembly),
            param_space={
                "lr": ray_tune.loguniform(1e-4, 1e-1),
                "weight_decay": ray_tune.loguniform(1e-5, 1e-1),
                "dropout": ray_tune.uniform(0.05, 0.5),
            },
            tune_config=ray_tune.TuneConfig(
                metric="accuracy",
                mode="max",
                search_alg=OptunaSearch(sampler=sampler),
                num_samples=trials,
                max_concurrent_trials=os.cpu_count() or 1,
                reuse_actors=True,
            ),
            run_config=ray_tune.RunConfig(storage_path=folder, verbose=0),
        )
        return float(tuner.fit().get_best_result().metrics["accuracy"])


def ray_is_there() -> bool:
    """Return whether Ray is installed."""
    there = importlib.util.find_spec("ray") is not None
    if not there:
        print("Ray Tune: left out; install it with: pip install 'ray[tune]'\n")
    return there


@contextmanager
def ray_running() -> Iterator[None]:
    """Run Ray's processes, which take time from others when they start and while they live."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    ray.init(include_dashboard=False, logging_level=logging.ERROR)
    try:
        yield
    finally:
        ray.shutdown()


def network_of(assembly: Assembly, dropout: float) -> torch.nn.Module:
    """Return the very network that the search trains."""
    model = assembly.experiment.model.model_copy(update={"dropout": dropout})
    data = assembly.data(0, model.encoding)
    return model.build(data.inputs, data.targets)


def with_loader(
    case: Case, assembly: Assembly, network: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> float:
    """Train with the DataLoader that most people write; return the best accuracy."""
    x, y, x_valid, y_valid = parts(assembly)
    loader = DataLoader(TensorDataset(x, y), batch_size=case.batch, shuffle=True)
    valid = DataLoader(TensorDataset(x_valid, y_valid), batch_size=case.batch)
    best = 0.0
    for _ in range(case.epochs):
        network.train()
        for x_B, y_B in loader:
            optimizer.zero_grad()
            F.cross_entropy(network(x_B), y_B).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            right = sum((network(x_B).argmax(1) == y_B).sum().item() for x_B, y_B in valid)
        best = max(best, right / len(y_valid))
    return best


def with_tensors(
    case: Case, assembly: Assembly, network: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> float:
    """Train on tensors that are where the network is; return the best accuracy."""
    x, y, x_valid, y_valid = parts(assembly)
    best = 0.0
    for _ in range(case.epochs):
        network.train()
        for rows in torch.randperm(len(y)).split(case.batch):
            optimizer.zero_grad()
            F.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            best = max(best, (network(x_valid).argmax(1) == y_valid).float().mean().item())
    return best


def parts(assembly: Assembly) -> tuple[torch.Tensor, ...]:
    """Return inputs and classes of the training and validation parts."""
    data = assembly.data(0, "onehot")
    train, valid = data.rows["train"], data.rows["validation"]
    return data.x.take(train), data.y[train], data.x.take(valid), data.y[valid]


@dataclass(frozen=True)
class Clocked:
    """One search.

    Attributes:
        wall_s: Seconds that went by.
        cpu_s: Seconds of CPU time of this process and those that it waited for.
        best: The best validation accuracy.
    """

    wall_s: float
    cpu_s: float
    best: float


def clocked(search: Callable[[], float]) -> Clocked:
    wall, cpu = time.perf_counter(), cpu_seconds()
    best = search()
    return Clocked(time.perf_counter() - wall, cpu_seconds() - cpu, best)


def cpu_seconds() -> float:
    parts = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = [resource.getrusage(part) for part in parts]
    return sum(part.ru_utime + part.ru_stime for part in used)


def best_threads(case: Case, assembly: Assembly, loop: Callable[..., float]) -> int:
    """Return the number of threads with which a few trials were faster."""
    seconds = {}
    for threads in {1, os.cpu_count() or 1}:
        torch.set_num_threads(threads)
        optunas(case, assembly, loop, 1)
        seconds[threads] = clocked(lambda: optunas(case, assembly, loop, 3)).wall_s
    return min(seconds, key=lambda threads: seconds[threads])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="16 trials")
    parser.add_argument("--case", type=int, help="one network alone, counted from 0")
    parser.add_argument("--repetitions", type=int, default=3)
    asked = parser.parse_args()
    trials = 16 if asked.quick else TRIALS
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    print(f"{machine()}, {os.cpu_count()} cores\n{trials} trials a search, ", end="")
    print(f"{asked.repetitions} searches; median ± half the range between the quartiles\n")
    ray = ray_is_there()
    for case in CASES if asked.case is None else [CASES[asked.case]]:
        compare(case, trials, asked.repetitions, ray=ray)


def compare(case: Case, trials: int, repetitions: int, *, ray: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assembly = prepare(request(case, Path(folder), "tpe", "", trials), Unheard())
    ours(case, "tpe", "", 4)  # imports
    contenders = searches(case, assembly, trials)
    runs: dict[str, list[Clocked]] = {name: [] for name in contenders}
    for _ in range(repetitions):
        for name, search in contenders.items():
            runs[name].append(clocked(search))
    if ray:
        with ray_running():
            rays(case, assembly, os.cpu_count() or 1)  # its workers are started
            search = partial(rays, case, assembly, trials)
            runs[RAY] = [clocked(search) for _ in range(repetitions)]
    walls = {name: spread([run.wall_s for run in found]) for name, found in runs.items()}
    (tensors,) = (w.middle for name, w in walls.items() if name.startswith(TENSORS))
    (loader,) = (w.middle for name, w in walls.items() if name.startswith(LOADER))
    print(case.name)
    print(
        f"  {'':36} {'wall s':>14}  {'CPU s':>6}  over tensors  over DataLoader  best accuracy"
    )
    for name, (middle, half) in walls.items():
        cpu = "" if name == RAY else f"{spread([run.cpu_s for run in runs[name]]).middle:.2f}"
        best = sum(run.best for run in runs[name]) / repetitions
        print(
            f"  {name:36} {middle:7.2f} ± {half:4.2f}  {cpu:>6}  {tensors / middle:10.2f}×  "
            f"{loader / middle:13.2f}×  {best:.4f}",
            flush=True,
        )
    print()


def searches(case: Case, assembly: Assembly, trials: int) -> dict[str, Callable[[], float]]:
    """Return what is compared, by what the table calls it."""
    halving = "early_stop: {kind: successive_halving, first: 2, reduction: 3}"
    found: dict[str, Callable[[], float]] = {
        "modelscale tune, tpe": lambda: ours(case, "tpe", "", trials),
        "… with successive halving": lambda: ours(case, "tpe", halving, trials),
        "modelscale tune, random": lambda: ours(case, "random", "", trials),
    }
    for name, loop in ((TENSORS, with_tensors), (LOADER, with_loader)):
        threads = best_threads(case, assembly, loop)
        found[f"{name}, threads {threads}"] = partial(
            plain, case, assembly, loop, trials, threads
        )
    return found


def plain(
    case: Case, assembly: Assembly, loop: Callable[..., float], trials: int, threads: int
) -> float:
    torch.set_num_threads(threads)
    return optunas(case, assembly, loop, trials)


if __name__ == "__main__":
    main()
