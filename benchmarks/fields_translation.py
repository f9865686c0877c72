"""Translation of LibreOffice's English strings into French, beside a translation memory.

The strings are those of the Debian package `libreoffice-l10n-fr` (MPL-2.0), which is neither
installed nor committed: `apt-get download libreoffice-l10n-fr && dpkg-deb -x *.deb FOLDER`.

    python benchmarks/fields_translation.py FOLDER
"""

from __future__ import annotations

import argparse
import csv
import gettext
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MOST_LETTERS = 30
ODD = re.compile(r"[\n\t%$<>{}]|\\")
SPEC = """
version: 1
task: translation
data:
  source: {kind: csv, path: pairs.csv, target: french, missing: ['']}
  columns: {english: text}
  split: {test: 0.1, validation: 0.05}
  text: {tokenizer: {kind: byte_pairs, vocabulary: 1500}, length: 18}
  translation: {tokenizer: {kind: byte_pairs, vocabulary: 1500}, length: 22}
model: {kind: encoder_decoder, width: 96, blocks: 2, heads: 4, dropout: 0.1}
loss: {kind: teacher_forcing, label_smoothing: 0.1}
optimizer: {kind: adamw, lr: 3e-3, weight_decay: 0.01}
scheduler: {kind: cosine, warmup: 0.05}
train: {epochs: 20, batch_size: 64, clip_norm: 1.0}
metrics: [token_accuracy, token_perplexity, chrf, bleu]
"""


def pairs(folder: Path) -> list[tuple[str, str]]:
    """Return English strings with their French ones: one line, no placeholders, each once."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*.mo")):
        with path.open("rb") as file:
            catalogue = gettext.GNUTranslations(file)
        for key, french in catalogue._catalog.items():
            text = key[0] if isinstance(key, tuple) else key
            english = text.rpartition("\x04")[2].replace("~", "").replace("_", "").strip()
            french = french.replace("~", "").replace("_", "").strip()
            longest = max(len(english), len(french))
            if english and french and longest <= MOST_LETTERS and not ODD.search(text + french):
                found.setdefault(english, french)
    return sorted(found.items())


def modelscale(folder: Path, *words: str) -> dict[str, object]:
    """Return the JSON document of a command."""
    main = "import sys; from modelscale.cli.app import main; sys.exit(main())"
    command = [sys.executable, "-c", main, *words, "--json", "-q"]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def memory(rows: list[tuple[str, str]], test: list[int]) -> list[str]:
    """Return the translation of the likest English string outside the test rows."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    held = set(test)
    known = [row for row in range(len(rows)) if row not in held]
    counter = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
    table = counter.fit_transform([rows[row][0] for row in known])
    asked = counter.transform([rows[row][0] for row in test])
    likest = np.asarray((asked @ table.T).argmax(axis=1)).reshape(-1)
    return [rows[known[place]][1] for place in likest.tolist()]


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path)
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    asked = options.parse_args()
    import sacrebleu

    rows = pairs(asked.folder)
    print(f"{len(rows):,} pairs")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "pairs.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("english", "french"), *rows])
        (folder / "fr.yaml").write_text(SPEC)
        changes = [word for change in asked.set for word in ("--set", change)]
        start = time.monotonic()
        trained = modelscale(folder, "train", "fr.yaml", *changes)
        seconds = time.monotonic() - start
        (table,) = (folder / str(trained["run"])).rglob("predictions-test.csv")
        with table.open(newline="") as file:
            read = list(csv.DictReader(file))
        answers = {"encoder_decoder, greedy": [row["prediction"] for row in read]}
        test = [int(row["row"]) for row in read]
        answers["likest string's translation"] = memory(rows, test)
        answers["the English string"] = [rows[row][0] for row in test]
        wanted = [rows[row][1] for row in test]
        for what, texts in answers.items():
            bleu = sacrebleu.corpus_bleu(texts, [wanted]).score
            chrf = sacrebleu.corpus_chrf(texts, [wanted]).score
            exact = sum(map(str.__eq__, texts, wanted)) / len(wanted)
            print(f"{what:32s} BLEU {bleu:5.1f}  chrF {chrf:5.1f}  exact {exact:.3f}")
        beam = modelscale(folder, "evaluate", "fr", "--beam", "4")
        print("evaluate --beam 4", json.dumps(beam["metrics"]))
        print("train", json.dumps(trained["metrics"]))
        print(f"{trained.get('parameters')} parameters, {seconds:.0f} s")


if __name__ == "__main__":
    main()
