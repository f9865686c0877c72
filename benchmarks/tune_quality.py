"""How good searches are, by trials and by time: regret in validation log-loss, over seeds.

    python benchmarks/tune_quality.py [--quick] [--seeds 8] [--data digits] [--samplers tpe,gp]
        [--workers 1 --clock cpu]

48 trials of a perceptron with six hyper-parameters (learning rate, weight decay, dropout, both
betas of AdamW, and the hidden layers, which split cohorts) on `digits`, `breast_cancer` and
`german_credit` (`modelscale data fetch german_credit`; skipped with a word if it is not there).
The objective is the validation log-loss of the best epoch; the regret is what lies above the
best of all runs on the same data.

Contenders are our samplers, each one by one (`tune.cohort: 1`) and in cohorts (`auto`, the
default), beside Optuna's default sampler and Optuna's random sampler, one after the other, with
a plain PyTorch loop over tensors that are in place (faster than a DataLoader) on one thread,
which is faster than two on networks as small as these. `tune` uses the machine's cores as it
decides itself. The trials of one search all begin from one seed, on either side: new weights
for each trial would be further draws in a lottery for the lowest value. The clock starts when
the search is called and ends when a trial's result is on disk (ours) or told to the study
(Optuna's, in memory): our times have the reading of the data, the choice of the cohort's size
and all files in them, Optuna's only training and proposals. Times are those that went by: run
it on an idle machine. With `--workers 1` each search is one process, and `--clock cpu` then
reports CPU time, for a machine that is not idle.

Our default, `tpe` in cohorts, and random search in cohorts get twice the trials, so that there
is something to compare with for as long as the plain search takes. Each search is kept as JSON
in the folder `--out`, so that the same command goes on where it was stopped; the report covers
what is there.
"""

import argparse
import contextlib
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import optuna
import torch
from regret import Searched, behind, mean, reached
from timing import machine
from torch.nn import functional as F

from modelscale.commands.assembly import Assembly
from modelscale.commands.experiment import Experiment
from modelscale.commands.launching import Request, prepare
from modelscale.commands.tune import tune
from modelscale.errors import ModelscaleError
from modelscale.runs.trials import TrialRecord
from modelscale.spec.loader import load_text

HIDDEN = ((32,), (64, 64), (128, 128))
SAMPLERS = ("random", "tpe", "qmc", "cmaes", "nsga2", "gp")
DEFAULT, RANDOM, PLAIN = "tpe, cohorts", "random, cohorts", "Optuna TPE, plain loop"
PLAIN_RANDOM = "Optuna random, plain loop"
BUDGETS = (16, 32, 48)


@dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        data: Its name in the catalogue.
        batch: Examples of a step.
        epochs: Of a trial.
        workers: Processes of a search by `tune`.
    """

    data: str
    batch: int
    epochs: int
    workers: str = "auto"

    def spec(self, sampler: str, cohort: str, trials: int, seed: int) -> str:
        """Return the YAML of a search."""
        return f"""
data: {{source: {self.data}, split: {{test: 0.2, validation: 0.4, seed: 0}}}}
seed: {seed}
model: {{kind: mlp, hidden: [64, 64], dropout: 0.1}}
optimizer: {{kind: adamw}}
train: {{epochs: {self.epochs}, batch_size: {self.batch}, checkpoint_s: 600}}
tune:
  metric: validation/loss
  sampler: {sampler}
  cohort: {cohort}
  workers: {self.workers}
  n_trials: {trials}
  confirm_seeds: 0
  space:
    optimizer.lr: {{low: 1e-4, high: 1e-1, log: true}}
    optimizer.weight_decay: {{low: 1e-5, high: 1.0, log: true}}
    optimizer.beta1: {{low: 0.5, high: 0.99}}
    optimizer.beta2: {{low: 0.9, high: 0.9999}}
    model.dropout: {{low: 0.01, high: 0.6}}
    model.hidden: {{choices: {[list(units) for units in HIDDEN]}}}
"""

    def request(self, root: Path, sampler: str, cohort: str, trials: int, seed: int) -> Request:
        """Return the command line of a search."""
        text = self.spec(sampler, cohort, trials, seed)
        loaded = load_text(text, "benchmark", Experiment)
        threads = 1 if self.workers == "1" else None
        return Request("tune", loaded, "search", root, (), threads=threads)


CASES = (
    Case("breast_cancer", 32, 30),
    Case("german_credit", 32, 20),
    Case("digits", 64, 15),
)


@dataclass
class Recorder:
    """Hears when each trial's result is there.

    Attributes:
        values: By trial.
        wall_s: Seconds since it was made, by trial.
        cpu_s: The same in CPU time.
    """

    values: dict[int, float] = field(default_factory=dict)
    wall_s: dict[int, float] = field(default_factory=dict)
    cpu_s: dict[int, float] = field(default_factory=dict)
    begun: tuple[float, float] = field(
        default_factory=lambda: (time.perf_counter(), time.process_time())
    )

    def note(self, text: str) -> None:
        """Hear nothing."""

    detail = warn = note

    @contextlib.contextmanager
    def progress(self, *_: object) -> Iterator["Recorder"]:
        """Show nothing."""
        yield self

    trials = progress

    def update(self, done: float, text: str = "") -> None:
        """Hear nothing."""

    def training(self, numbers: Sequence[int], epoch: int, epochs: int) -> None:
        """Hear nothing."""

    def ended(self, trial: TrialRecord) -> None:
        """Note a trial."""
        value = trial.values[0] if trial.state == "complete" and trial.values else None
        self.add(trial.number, math.inf if value is None else value)

    def add(self, number: int, value: float) -> None:
        """Note what came out of a trial, now."""
        self.wall_s[number] = time.perf_counter() - self.begun[0]
        self.cpu_s[number] = time.process_time() - self.begun[1]
        self.values[number] = value if math.isfinite(value) else math.inf

    def searched(self, contender: str, seed: int) -> Searched:
        """Return the whole search."""
        rows = (
            tuple(found[n] for n in range(len(found)))
            for found in (self.values, self.wall_s, self.cpu_s)
        )
        return Searched(contender, seed, *rows)


def ours(case: Case, contender: str, trials: int, seed: int) -> Searched:
    """Return a search by `modelscale tune`."""
    sampler, _, mode = contender.partition(", ")
    cohort = "auto" if mode == "cohorts" else "1"
    with tempfile.TemporaryDirectory() as folder:
        request = case.request(Path(folder), sampler, cohort, trials, seed)
        torch.set_num_threads(os.cpu_count() or 1)
        recorder = Recorder()
        tune(request, recorder)
    return recorder.searched(contender, seed)


def optunas(case: Case, contender: str, trials: int, seed: int) -> Searched:
    """Return a search by Optuna with a plain loop."""
    with tempfile.TemporaryDirectory() as folder:
        assembly = prepare(case.request(Path(folder), "random", "1", 1, seed), Recorder())
    tensors = parts(assembly)
    torch.set_num_threads(1)
    make = optuna.samplers.TPESampler if contender == PLAIN else optuna.samplers.RandomSampler
    recorder = Recorder()
    study = optuna.create_study(sampler=make(seed=seed))
    study.optimize(
        lambda trial: trained(trial, case, assembly, tensors, seed),
        n_trials=trials,
        callbacks=[
            lambda _, t: recorder.add(t.number, math.inf if t.value is None else t.value)
        ],
    )
    return recorder.searched(contender, seed)


def parts(assembly: Assembly) -> tuple[torch.Tensor, ...]:
    """Return inputs and classes of the training and validation parts."""
    data = assembly.data(0, "onehot")
    train, valid = data.rows["train"], data.rows["validation"]
    return data.x.take(train), data.y[train], data.x.take(valid), data.y[valid]


def trained(
    trial: optuna.Trial,
    case: Case,
    assembly: Assembly,
    tensors: tuple[torch.Tensor, ...],
    seed: int,
) -> float:
    """Train one trial; return the validation log-loss of its best epoch."""
    lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    decay = trial.suggest_float("weight_decay", 1e-5, 1.0, log=True)
    betas = trial.suggest_float("beta1", 0.5, 0.99), trial.suggest_float("beta2", 0.9, 0.9999)
    dropout = trial.suggest_float("dropout", 0.01, 0.6)
    layers = {"x".join(map(str, units)): units for units in HIDDEN}
    hidden = layers[trial.suggest_categorical("hidden", list(layers))]
    model = assembly.experiment.model.model_copy(update={"dropout": dropout, "hidden": hidden})
    data = assembly.data(0, "onehot")
    torch.manual_seed(seed)
    network = model.build(data.inputs, data.targets)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, weight_decay=decay, betas=betas)
    x, y, x_valid, y_valid = tensors
    best = math.inf
    for _ in range(case.epochs):
        network.train()
        for rows in torch.randperm(len(y)).split(case.batch):
            optimizer.zero_grad()
            F.cross_entropy(network(x[rows]), y[rows]).backward()
            optimizer.step()
        network.eval()
        with torch.no_grad():
            loss = F.cross_entropy(network(x_valid), y_valid).item()
        best = min(best, loss) if math.isfinite(loss) else best
    return best if math.isfinite(best) else 1e6  # Optuna refuses what is not finite


def contenders(samplers: Sequence[str]) -> dict[str, Callable[..., Searched]]:
    """Return who searches, by name."""
    found: dict[str, Callable[..., Searched]] = {PLAIN: optunas, PLAIN_RANDOM: optunas}
    for sampler in samplers:
        found |= {f"{sampler}, one by one": ours, f"{sampler}, cohorts": ours}
    return found


def run(cases: Sequence[Case], samplers: Sequence[str], seeds: int, folder: Path) -> None:
    """Run the searches that are not there yet, all contenders of one seed in turn."""
    warm = False
    for seed in range(seeds):
        for case in cases:
            for contender, search in contenders(samplers).items():
                path = folder / case.data / f"{contender.replace(', ', '-')}-{seed}.json"
                if path.is_file():
                    continue
                if not warm:  # what is imported or compiled at first use is nobody's merit
                    ours(case, DEFAULT, 11, seed)
                    optunas(case, PLAIN, 11, seed)
                    warm = True
                trials = BUDGETS[-1] * (2 if contender in {DEFAULT, RANDOM} else 1)
                found = search(case, contender, trials, seed)
                path.parent.mkdir(parents=True, exist_ok=True)
                part = path.with_suffix(".part")
                part.write_text(json.dumps({"machine": machine(), **asdict(found)}))
                part.replace(path)


def read(folder: Path, data: str) -> dict[str, list[Searched]]:
    """Return the searches on some data by contender, ordered by seed."""
    found: dict[str, list[Searched]] = {}
    for path in sorted((folder / data).glob("*.json")):
        facts = json.loads(path.read_text())
        del facts["machine"]
        rows = {k: tuple(v) for k, v in facts.items() if isinstance(v, list)}
        found.setdefault(facts["contender"], []).append(Searched(**{**facts, **rows}))
    order = list(contenders(SAMPLERS))
    return {k: sorted(found[k], key=lambda s: s.seed) for k in order if k in found}


def report(data: str, found: dict[str, list[Searched]], clock: str) -> None:
    """Print the table of a data set, and what follows from it."""
    least = min(min(s.values) for own in found.values() for s in own)
    print(f"{data}: validation log-loss, least of all {least:.4f}; {clock} time")
    heads = "".join(f"{f'after {n}':>16}" for n in BUDGETS)
    print(f"  {'':26} seeds {heads}  median {BUDGETS[-1]}  seconds   to Optuna TPE's end")
    for name, own in found.items():
        cells = []
        for n in BUDGETS:
            middle, error = mean([s.after(n) - least for s in own])
            cells.append(f"{middle:8.4f} ± {error:.4f}")
        median = sorted(s.after(BUDGETS[-1]) - least for s in own)[len(own) // 2]
        seconds = mean([s.seconds(clock, BUDGETS[-1]) for s in own]).middle
        told = f"  {name:26} {len(own):5} {'  '.join(cells)}  {median:9.4f}  {seconds:7.1f}"
        if PLAIN in found:
            there = reached(own, found[PLAIN], BUDGETS[-1], clock, least)
            told += f"   {there.seconds:5.1f} s, {there.ratio:.2f}× [{there.low:.2f}, "
            told += f"{there.high:.2f}]"
        print(told.replace("inf s", "never").replace("inf", "–").replace("nan", "–"))
    for rival in (RANDOM, PLAIN_RANDOM):
        if DEFAULT in found and rival in found and len(found[DEFAULT]) > 1:
            print(f"  {compared(found[DEFAULT], found[rival], rival, clock)}")
    print(flush=True)


def compared(own: list[Searched], other: list[Searched], rival: str, clock: str) -> str:
    """Say whether the default is ever behind random search."""
    share, seconds, lag, error = behind(own, other, clock)
    told = f"{DEFAULT} against {rival}: behind for {share:.0%} of the time (logarithmic)"
    if lag <= 0:
        return f"{told}; never behind"
    verdict = "beyond" if lag > 2 * error else "within"
    return (
        f"{told}; at worst by {lag:.4f} ± {error:.4f} at {seconds:.1f} s, "
        f"{verdict} two standard errors"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="2 seeds, one data set, 2 samplers"
    )
    parser.add_argument("--seeds", type=int, default=8, help="seeds 0, 1, …")
    parser.add_argument("--samplers", default=",".join(SAMPLERS), help="of ours")
    parser.add_argument("--data", default=",".join(case.data for case in CASES))
    parser.add_argument("--out", type=Path, default=Path("runs/tune_quality"))
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--workers", default="auto", help="processes of a search by `tune`")
    asked = parser.parse_args()
    samplers = [sampler for sampler in asked.samplers.split(",") if sampler]
    data, seeds = asked.data.split(","), asked.seeds
    if asked.quick:
        samplers, data, seeds = ["random", "tpe"], ["breast_cancer"], 2
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    cases = []
    for case in (replace(c, workers=asked.workers) for c in CASES if c.data in data):
        try:
            prepare(case.request(Path(), "random", "1", 1, 0), Recorder())
        except ModelscaleError as error:
            print(f"{case.data}: skipped: {error}\n")
        else:
            cases.append(case)
    print(f"{machine()}\nregret in the mean ± standard error over seeds\n", flush=True)
    run(cases, samplers, seeds, asked.out)
    found = {case.data: read(asked.out, case.data) for case in cases}
    for name, searches in found.items():
        report(name, searches, asked.clock)
    draw(found, asked.out / "tune_quality.svg", asked.clock)


def draw(found: dict[str, dict[str, list[Searched]]], path: Path, clock: str) -> None:
    """Save the plot of all curves."""
    try:
        from regret_plot import plot
    except ImportError as error:
        print(f"no plot: {error}; install it with: pip install 'modelscale[report]'")
        return
    plot(found, path, clock)
    print(path)


if __name__ == "__main__":
    main()
