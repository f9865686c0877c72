"""Pre-processing: fitted on training rows, equal to scikit-learn's, exact through JSON."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from modelscale.data.loading import load, prepare, prepare_new
from modelscale.data.opening import read_new
from modelscale.data.preprocessing import Preprocessing
from modelscale.data.section import DataSection
from modelscale.errors import DataError, SpecError

HEADER = "age,city,income,flag,note,constant,label"


def table(rows: int = 200, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    lines = [HEADER]
    for row in range(rows):
        age = "" if rng.random() < 0.1 else f"{rng.integers(18, 90)}"
        city = "NA" if rng.random() < 0.1 else rng.choice(["Bern", "Genf", "Zug"])
        income = f"{rng.normal(5e4, 1e4):.2f}"
        label = "yes" if rng.random() < 0.4 else "no"
        lines.append(f"{age},{city},{income},{rng.choice(['true', 'false'])},n{row},7,{label}")
    return lines


def section_of(path: Path, target: str = "label", **more: object) -> DataSection:
    return DataSection.model_validate(
        {"source": {"kind": "csv", "path": path, "target": target}, **more}
    )


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_table_matches_scikit_learn(tmp_path: Path) -> None:
    compose = pytest.importorskip("sklearn.compose")
    pipeline = pytest.importorskip("sklearn.pipeline")
    impute = pytest.importorskip("sklearn.impute")
    scale = pytest.importorskip("sklearn.preprocessing")
    pd = pytest.importorskip("pandas")
    path = write(tmp_path / "t.csv", table())
    section = section_of(path)
    loaded = load(section)
    prepared = prepare(loaded, 0, "onehot", section)
    frame = pd.read_csv(path, keep_default_na=False, na_values=["", "NA"])
    numbers = pipeline.make_pipeline(
        impute.SimpleImputer(strategy="median"), scale.StandardScaler()
    )
    words = scale.OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    oracle = compose.make_column_transformer(
        (numbers, ["age", "income"]),
        (impute.MissingIndicator(), ["age"]),
        (words, ["city", "flag"]),
    )
    for name in ("city", "flag"):
        frame[name] = frame[name].map(lambda v: v if isinstance(v, str) else str(v).lower())
        frame[name] = frame[name].where(frame[name] != "nan", other="")
    train = prepared.rows["train"].numpy()
    oracle.fit(frame.iloc[train])
    wanted = oracle.transform(frame)
    got = prepared.x.take(torch.arange(len(frame))).numpy()
    # scikit-learn gives the missing city a column of its own, "", first: code 0 here as well;
    # the flag is never missing, so its column of code 0 exists here alone.
    flag_unknown = 3 + 4
    assert not got[:, flag_unknown].any()
    np.testing.assert_allclose(np.delete(got, flag_unknown, axis=1), wanted, atol=2e-6)
    assert prepared.inputs.shape == (3 + 4 + 3,)
    assert prepared.preprocessing.labels == ("no", "yes")
    assert (prepared.y.numpy() == (frame["label"] == "yes")).all()


def test_codes_put_numbers_first_and_unknown_words_at_0(tmp_path: Path) -> None:
    section = section_of(write(tmp_path / "t.csv", table()))
    prepared = prepare(load(section), 0, "codes", section)
    assert prepared.inputs.shape == (5,)
    assert prepared.inputs.categories == (4, 3)
    x = prepared.x.take(torch.arange(200))
    assert set(x[:, 3].tolist()) == {0.0, 1.0, 2.0, 3.0}
    assert set(x[:, 4].tolist()) == {1.0, 2.0}
    lines = [HEADER, "30,Atlantis,50000,true,n,7,yes"]
    raw = read_new(write(tmp_path / "new.csv", lines), prepared.preprocessing)
    new = prepare_new(prepared.preprocessing, raw)
    assert new.y is None
    assert new.x.take(torch.tensor([0]))[0, 3:].tolist() == [0.0, 2.0]


def test_warnings_name_columns_that_teach_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", table())
    assert load(section_of(path)).warnings == (
        "column 'note' is ignored: its text is different in most rows",
        "column 'constant' is ignored: it has one value in all training rows",
    )
    quiet = section_of(path, columns={"note": "ignore", "constant": "ignore"})
    assert load(quiet).warnings == ()


def test_numbers_that_single_precision_blurs_are_warned_about(tmp_path: Path) -> None:
    lines = ["clock,y", *(f"{1_790_000_000 + i * 37 % 1000},{i % 2}" for i in range(60))]
    loaded = load(section_of(write(tmp_path / "t.csv", lines), "y"))
    assert loaded.warnings == (
        "column 'clock' varies by less than 1/100,000 of its size, which single precision "
        "blurs; subtract a constant from it",
    )


def test_only_training_rows_are_learnt_from(tmp_path: Path) -> None:
    """Planted leakage: changing every other row's inputs changes nothing that is fitted."""
    clean = table()
    section = section_of(write(tmp_path / "t.csv", clean))
    loaded = load(section)
    before = prepare(loaded, 0, "onehot", section).preprocessing
    train = set(loaded.folds[0].train.tolist())
    planted = [clean[0]]
    for row, line in enumerate(clean[1:]):
        label = line.rpartition(",")[2]  # kept, as the split is stratified by it
        poison = f"1000000,Babel,-1e30,maybe,x,9,{label}"
        planted.append(line if row in train else poison)
    other = section_of(write(tmp_path / "t.csv", planted))
    after = prepare(load(other), 0, "onehot", other).preprocessing
    assert after == before


def test_preprocessing_survives_json_exactly(tmp_path: Path) -> None:
    import json

    section = section_of(write(tmp_path / "t.csv", table()))
    fitted = prepare(load(section), 0, "codes", section).preprocessing
    again = Preprocessing.from_json(json.loads(json.dumps(fitted.to_json())))
    assert again == fitted
    assert {n: t.tolist() for n, t in again.tensors().items()} == {
        n: t.tolist() for n, t in fitted.tensors().items()
    }
    with pytest.raises(DataError, match="pre-processing: not understood"):
        Preprocessing.from_json({"form": "table", "import": "os"})
    for scale in (0.0, float("nan"), float("inf")):
        damaged = fitted.to_json()
        damaged["numeric"][0]["scale"] = scale
        with pytest.raises(DataError, match="pre-processing: not understood"):
            Preprocessing.from_json(damaged)


@pytest.mark.parametrize("encoding", ["onehot", "codes"])
def test_module_can_be_exported(tmp_path: Path, encoding: str) -> None:
    section = section_of(write(tmp_path / "t.csv", table()))
    loaded = load(section)
    fitted = prepare(loaded, 0, encoding, section).preprocessing
    encoded = torch.from_numpy(fitted.encode(loaded.raw))
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(
        fitted.module(), (encoded,), dynamic_shapes={"raw_ND": {0: batch}}
    )
    few = encoded[:7]
    torch.testing.assert_close(program.module()(few), fitted.module()(few))


def test_new_data_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    section = section_of(write(tmp_path / "t.csv", table()))
    fitted = prepare(load(section), 0, "onehot", section).preprocessing

    def refused(*lines: str, with_target: bool = False) -> str:
        path = write(tmp_path / "new.csv", list(lines))
        with pytest.raises(DataError) as caught:
            prepare_new(fitted, read_new(path, fitted, with_target=with_target))
        return str(caught.value).removeprefix(f"{path}: ")

    assert refused("age,city,flag", "3,Bern,true").startswith("no column 'income'")
    assert refused("age,city,income,flag", "3,Bern,much,true").startswith(
        "row 2, column 'income': 'much' is not a finite number"
    )
    assert refused("age,city,income,flag", "3,Bern,1e39,true") == (
        "row 2, column 'income': 1e+39 is beyond single precision"
    )
    assert refused(HEADER, "3,Bern,5,true,n,7,perhaps", with_target=True) == (
        "row 2, target 'label': 'perhaps' is not a class of the training data ('no', 'yes')"
    )


def test_declared_roles_hold(tmp_path: Path) -> None:
    lines = ["zip,x,y", *(f"{'007' if i % 2 else '008'},{i % 7},{i % 3}" for i in range(60))]
    path = write(tmp_path / "t.csv", lines)
    section = section_of(path, "y", columns={"zip": "category"})
    fitted = prepare(load(section), 0, "codes", section).preprocessing
    assert fitted.categories[0].words == ("007", "008")
    with pytest.raises(SpecError, match=r"data\.columns: no column 'zap'; did you mean 'zip'"):
        load(section_of(path, "y", columns={"zap": "ignore"}))
    with pytest.raises(SpecError, match=r"no column is left to learn from"):
        load(section_of(path, "y", columns={"zip": "ignore", "x": "ignore"}))


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        (["yes", "no"] * 20, "classification"),
        (["true", "false"] * 20, "classification"),
        ([str(i % 20) for i in range(40)], "classification"),
        ([str(i % 21) for i in range(42)], "regression"),
        (["0.5", "1.5"] * 20, "regression"),
    ],
)
def test_task_follows_from_the_target(tmp_path: Path, cells: list[str], task: str) -> None:
    lines = ["x,y", *(f"{i % 5},{cell}" for i, cell in enumerate(cells))]
    assert load(section_of(write(tmp_path / "t.csv", lines), "y")).task == task


@pytest.mark.parametrize("transform", ["auto", "none", "standardize", "log"])
def test_target_transform_is_undone(tmp_path: Path, transform: str) -> None:
    values = np.exp(np.linspace(-2, 5, 50))
    lines = ["x,y", *(f"{i},{value!r}" for i, value in enumerate(values.tolist()))]
    section = section_of(write(tmp_path / "t.csv", lines), "y", target_transform=transform)
    loaded = load(section)
    prepared = prepare(loaded, 0, "onehot", section)
    back = prepared.preprocessing.inverse_target(prepared.y)
    np.testing.assert_allclose(back[:, 0].numpy(), values, rtol=1e-5, atol=1e-4)
    train = prepared.y[prepared.rows["train"]]
    if transform == "none":
        np.testing.assert_allclose(prepared.y[:, 0].numpy(), values, rtol=1e-6)
    else:
        assert abs(train.mean().item()) < 1e-5
        assert abs(train.std(correction=0).item() - 1) < 1e-5
    (warning,) = loaded.warnings
    assert warning.startswith(
        "column 'x' just numbers the rows; leave it out with data.columns"
    )


def test_targets_that_cannot_be_learnt_are_refused(tmp_path: Path) -> None:
    def refused(lines: list[str], **more: object) -> str:
        path = write(tmp_path / "t.csv", lines)
        section = section_of(path, "y", **more)
        with pytest.raises(DataError) as caught:
            prepare(load(section), 0, "onehot", section)
        return str(caught.value).removeprefix(f"{path}: ")

    rows = [f"{i % 5},{i / 7}" for i in range(30)]
    assert refused(["x,y", *rows[:10], "3,", *rows[10:], "4,NA"]) == (
        "row 12, target 'y': is missing (2 rows have none); remove these rows"
    )
    assert refused(["x,y", *rows], target_transform="log") == (
        "row 2, target 'y': 0.0 has no logarithm; choose another data.target_transform"
    )
    assert refused(["x,y", *(f"{i},yes" for i in range(30))]) == (
        "the target has one class only ('yes')"
    )


def test_several_targets_make_a_regression_with_several_outputs(tmp_path: Path) -> None:
    lines = ["x,y,z", *(f"{i % 9},{i * 0.5},{-i}" for i in range(40))]
    source = {"kind": "csv", "path": write(tmp_path / "t.csv", lines), "target": ("y", "z")}
    section = DataSection.model_validate({"source": source})
    prepared = prepare(load(section), 0, "onehot", section)
    assert prepared.targets == 2
    assert prepared.y.shape == (40, 2)
    back = prepared.preprocessing.inverse_target(prepared.y)
    np.testing.assert_allclose(back[:, 1].numpy(), -np.arange(40.0), atol=1e-4)


def test_images_are_scaled_by_channel_on_training_rows() -> None:
    section = DataSection.model_validate({"source": "digits"})
    loaded = load(section)
    prepared = prepare(loaded, 0, "onehot", section)
    assert prepared.inputs.shape == (1, 8, 8)
    train = prepared.x.take(prepared.rows["train"])
    assert abs(train.mean().item()) < 1e-5
    assert abs(train.std(correction=0).item() - 1) < 1e-5
    plain = section.model_copy(update={"standardize": False})
    x = prepare(loaded, 0, "onehot", plain).x.take(torch.arange(len(loaded.raw)))
    np.testing.assert_array_equal(x.numpy(), loaded.raw.array)
    bytes_ = replace(loaded.raw, array=(loaded.raw.array * 255).astype(np.uint8))
    scaled = prepare(replace(loaded, raw=bytes_), 0, "onehot", plain).x
    assert scaled.take(torch.arange(99)).max().item() == 1.0


def test_augmentation_of_tables_is_a_fault_of_the_spec(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", table())
    with pytest.raises(
        SpecError, match=r"^data\.augment: only images, texts and recordings can be augmented"
    ):
        load(section_of(path, augment=("flip",)))


def test_linear_source_lies_on_its_line() -> None:
    spec = {"source": {"kind": "linear", "samples": 5000, "slope": 3.0, "noise": 0.5}}
    section = DataSection.model_validate(spec)
    raw = load(section).raw
    slope, intercept = np.polyfit(raw.columns["x"], raw.target, 1)
    residual = raw.target - intercept - slope * raw.columns["x"]
    assert abs(slope - 3.0) < 0.05
    assert abs(intercept - 1.0) < 0.03
    assert abs(residual.std() - 0.5) < 0.02
    assert load(section).task == "regression"


def test_new_file_is_read_as_the_training_file_was(tmp_path: Path) -> None:
    lines = ["x;code;y", *(f"{i % 7};{'01' if i % 2 else '02'};{i % 2}" for i in range(60))]
    source = {"kind": "csv", "path": write(tmp_path / "t.csv", lines), "target": "y"}
    source |= {"delimiter": ";", "missing": ("-",)}
    section = DataSection.model_validate({"source": source, "columns": {"code": "category"}})
    fitted = prepare(load(section), 0, "codes", section).preprocessing
    path = write(tmp_path / "new.csv", ["code;other;x;y", "02;a;-;1", "01;b;3;0"])
    new = prepare_new(fitted, read_new(path, fitted, section.source, with_target=True))
    x = new.x.take(torch.arange(2))
    assert x[:, 1].tolist() == [2.0, 1.0]  # "01" and "02" stayed text
    assert x[0, 0].item() == pytest.approx(
        (fitted.numeric[0].median - fitted.numeric[0].mean) / fitted.numeric[0].scale
    )
    assert new.y.tolist() == [1, 0]
