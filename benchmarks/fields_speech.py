"""Speech: our configs beside a support vector machine on the same spectra and rows.

    python benchmarks/fields_speech.py [keywords] [speakers] [strings] [--seeds 3] [--quick]

`keywords`: recordings 0 to 4 of each digit and speaker as the test part. `speakers`: each
speaker left out in turn, with and without augmentation, same budget and seeds; the interval of
the difference is Student's t over speakers, each the mean of its seeds. `strings`: the word
error rate of joined digits, of recordings that no training string has. The machine gets 16
frames of each recording, by straight lines.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scores import CONFIGS, Silent
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from timing import machine
from torch.nn import functional as F

from modelscale.commands.experiment import Experiment
from modelscale.commands.launching import Request
from modelscale.commands.train import Trained, train
from modelscale.data.loading import load, prepare
from modelscale.evaluation.student import mean_over_seeds
from modelscale.spec.loader import load as load_spec

PARTS = ("keywords", "speakers", "strings")
FOLDS = "data.split={kind: kfold, folds: 6, group: true, validation: 0}"
OTHERS = (
    "data.augment=[{kind: time_shift, fraction: 0.1}, {kind: speed, fraction: 0.15}, "
    "{kind: vocal_tract, scale: 0.15, offset: 0.05}, {kind: loudness}, "
    "{kind: spec_augment, bands: 0.15, frames: 0.1}]"
)  # what makes a recording another speaker's; known speakers need less


def ours(config: str, changes: tuple[str, ...]) -> tuple[Trained, float]:
    """Return a finished run of a config and its CPU seconds."""
    runs = Path(tempfile.mkdtemp(prefix="modelscale-speech-"))
    start = time.process_time()
    loaded = load_spec(CONFIGS / f"{config}.yaml", Experiment, changes)
    done = train(Request("train", loaded, config, runs, ("train",), threads=1), Silent())
    return done, time.process_time() - start


def support_vectors(changes: tuple[str, ...]) -> NDArray[np.float64]:
    """Return the accuracy of the plain machine on each fold."""
    section = load_spec(CONFIGS / "spoken_digits.yaml", Experiment, changes).spec.data
    loaded = load(section)
    found = []
    for fold in range(len(loaded.folds)):
        data = prepare(loaded, fold, "onehot", section)
        x = data.x.take(torch.arange(len(data.y)))
        length_N = (x != 0).any(2).any(1).sum(-1).tolist()
        frames = [
            F.interpolate(x[i, :, :, :n], size=16, mode="linear").flatten()
            for i, n in enumerate(length_N)
        ]
        x_ND, y_N = torch.stack(frames).numpy(), data.y.numpy()
        learn, test = data.rows["train"].numpy(), data.rows["test"].numpy()
        model = make_pipeline(StandardScaler(), SVC(C=10.0)).fit(x_ND[learn], y_N[learn])
        found.append(model.score(x_ND[test], y_N[test]))
    return np.array(found)


def keywords(quick: bool, _seeds: int) -> None:
    changes = ("train.epochs=2",) if quick else ()
    done, seconds = ours("spoken_digits", changes)
    found = done.document["metrics"]["test"]["accuracy"]
    print("\nspoken digits, recordings 0 to 4 as test: accuracy")
    print(f"modelscale  {found['value']:.4f} ({found['low']:.4f} – {found['high']:.4f})")
    print(f"{done.document['model']['parameters']:,} parameters, {seconds:.0f} CPU s")
    print(f"SVM         {support_vectors(()).mean():.4f}")


def by_speaker(changes: tuple[str, ...], seeds: int) -> NDArray[np.float64]:
    """Return the accuracy on each speaker who was left out, the mean of the seeds."""
    done, seconds = ours("spoken_digits", (FOLDS, f"train.seeds={seeds}", *changes))
    print(f"({seconds:.0f} CPU s)", flush=True)
    found: dict[int, list[float]] = {}
    for member in done.document["members"]:
        value = member["metrics"]["test"]["accuracy"]["value"]
        found.setdefault(member["fold"], []).append(value)
    return np.array([np.mean(found[fold]) for fold in sorted(found)])


def speakers(quick: bool, seeds: int) -> None:
    short = ("train.epochs=1",) if quick else ()
    print("\nspoken digits, one speaker left out: accuracy by speaker")
    rows = {
        "augmented": by_speaker((*short, OTHERS), seeds),
        "plain": by_speaker((*short, "data.augment=[]"), seeds),
        "SVM": support_vectors((FOLDS,)),
    }
    for name, values in rows.items():
        print(f"{name:12}{values.mean():.4f}  {' '.join(f'{v:.3f}' for v in values)}")
    lead = mean_over_seeds((rows["augmented"] - rows["plain"]).tolist())
    print(f"augmentation gives {lead.mean:+.4f} ({lead.low:+.4f} – {lead.high:+.4f})")


def strings(quick: bool, _seeds: int) -> None:
    changes = ("train.epochs=1", "data.source.count=200") if quick else ()
    done, seconds = ours("spoken_strings", changes)
    print("\njoined digits, unseen recordings")
    for name, found in done.document["metrics"]["test"].items():
        print(f"{name:22}{found['value']:.4f} ({found['low']:.4f} – {found['high']:.4f})")
    print(f"{done.document['model']['parameters']:,} parameters, {seconds:.0f} CPU s")


def main() -> None:
    words = sys.argv[1:]
    seeds = int(words[words.index("--seeds") + 1]) if "--seeds" in words else 3
    torch.set_num_threads(1)
    print(machine())
    chosen = [part for part in PARTS if part in words] or PARTS
    for part in chosen:
        {"keywords": keywords, "speakers": speakers, "strings": strings}[part](
            "--quick" in words, seeds
        )


if __name__ == "__main__":
    main()
