"""`init --data`: a spec for a user's own file that runs as it stands."""

from pathlib import Path

import pytest
from command_line import cli

from modelscale.commands.experiment import Experiment
from modelscale.spec.loader import load


def write(folder: Path) -> None:
    rows = [f"K{i};{i % 7},5;same;{('ja', 'nein')[i % 3 > 0]}" for i in range(120)]
    (folder / "konten.csv").write_text("\n".join(["Nr;Saldo;Bank;Betrug", *rows]) + "\n")


def test_spec_for_a_table_says_what_was_found_and_trains(tmp_path: Path) -> None:
    write(tmp_path)
    result = cli(tmp_path, "init", "k.yaml", "--data", "konten.csv", "--target", "Betrug")
    assert result.code == 0, result.err
    text = (tmp_path / "k.yaml").read_text()
    assert "# konten.csv: 120 rows, classification, Betrug: ja 40, nein 80\n" in text
    assert "    Nr: ignore  # its text is different in most rows\n" in text
    assert "# column 'Saldo' is text, as '0,5' is no number here" in text
    spec = load(tmp_path / "k.yaml", Experiment).spec
    assert spec.data.source.delimiter == ";"
    assert spec.data.columns == {"Nr": "ignore", "Bank": "ignore"}
    trained = cli(tmp_path, "train", "k.yaml", "--set", "train.epochs=2", "-q")
    assert trained.code == 0, trained.err
    again = cli(tmp_path, "init", "k.yaml", "--data", "konten.csv", "--target", "Betrug")
    assert again.code == 73


def test_spec_for_a_folder_of_texts(tmp_path: Path) -> None:
    for label in ("good", "bad"):
        (tmp_path / "docs" / label).mkdir(parents=True)
        for number in range(10):
            (tmp_path / "docs" / label / f"{number}.txt").write_text(f"{label} {number}")
    assert cli(tmp_path, "init", "d.yaml", "--data", "docs").code == 0
    spec = load(tmp_path / "d.yaml", Experiment).spec
    assert (spec.data.source.own_kind(), spec.model.own_kind()) == (
        "text_folder",
        "text_average",
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--data", "konten.csv"), 2, "say which column is learnt: --target"),
        (("--data", "konten.csv", "--target", "Betrag"), 2, "did you mean 'Betrug'?"),
        (("--data", "no.csv", "--target", "x"), 66, "no.csv: No such file or directory"),
        (("--target", "x"), 2, "--target goes with --data"),
    ],
)
def test_what_cannot_be_begun_with_is_one_line(
    tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    write(tmp_path)
    result = cli(tmp_path, "init", "k.yaml", *words)
    assert (result.code, len(result.err.splitlines())) == (code, 1)
    assert message in result.err
    assert not (tmp_path / "k.yaml").exists()
