"""Tables of all formats: what is well-formed is read alike, with types and special columns."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelscale.data.cells import Marks
from modelscale.data.raw import Raw, Texts
from modelscale.data.reading import Reading
from modelscale.data.sources.base import SourceSpec
from modelscale.errors import DataError


def read(path: Path, kind: str, **more: object) -> Raw:
    return SourceSpec.model_validate({"kind": kind, "path": path, **more}).read()


def words(raw: Raw, name: str) -> list[str | None]:
    cells = raw.columns[name]
    assert isinstance(cells, Texts)
    return [None if code < 0 else cells.words[code] for code in cells.codes_N]


def test_ordinary_variety_of_csv_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(
        b'\xef\xbb\xbfa, b ,"c,d",e\r\n'
        b'1,+2.5,"x, ""y""\nz",NA\r\n'
        b"-3e2, .5 ,\xc3\xa9,?\r\n"
        b",7.,null,nan\r\n"
        b"\r\n"
    )
    raw = read(path, "csv")
    np.testing.assert_array_equal(raw.columns["a"], [1, -300, np.nan])
    np.testing.assert_array_equal(raw.columns["b"], [2.5, 0.5, 7])
    assert words(raw, "c,d") == ['x, "y"\nz', "é", None]
    np.testing.assert_array_equal(raw.columns["e"], [np.nan] * 3)


def test_missing_cells_are_what_the_spec_says(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,x\n-99,NA\n")
    raw = read(path, "csv", missing=("-99",))
    np.testing.assert_array_equal(raw.columns["a"], [1, np.nan])
    assert words(raw, "b") == ["x", "NA"]


def test_other_delimiters_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("a\tb\n1,5\tx\n")
    assert words(read(path, "csv", delimiter="\t"), "a") == ["1,5"]


def test_special_columns_are_no_inputs(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "x,y,who,when,split\n1,0,ann,2026-01-02,train\n2,1,bob,2026-01-01T12:00:00+01:00,test\n"
    )
    raw = read(path, "csv", target="y", group="who", time="when", part="split")
    assert list(raw.columns) == ["x"]
    assert raw.target_names == ("y",)
    assert raw.groups.tolist() == [0, 1]
    assert raw.times[0] - raw.times[1] == 13 * 3600
    assert raw.part.words == ("train", "test")
    with pytest.raises(DataError, match="a column is named for two things: y, y"):
        read(path, "csv", target="y", group="y")
    path.write_text("x,when\n1,2026-01-02\n2,yesterday\n")
    with pytest.raises(DataError, match="row 3, column 'when': 'yesterday' is neither"):
        read(path, "csv", time="when")


def test_more_words_than_a_category_has_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x,name\n" + "".join(f"{i},n{i}\n" for i in range(10_050)))
    raw = read(path, "csv")
    assert list(raw.columns) == ["x"]
    assert raw.skipped == {"name": "it has more than 10,000 different texts"}
    assert len(read(path, "csv", group="name").groups) == 10_050


def test_json_lines_and_parquet_equal_csv(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    rows = [
        {"n": 1, "f": 0.5, "w": "a", "t": True},
        {"n": None, "f": -2.25, "w": None, "t": False},
        {"n": 3, "f": 1e-300, "w": "b", "t": True},
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("n,f,w,t\n1,0.5,a,true\n,-2.25,,false\n3,1e-300,b,true\n")
    found = [read(tmp_path / f"t.{kind}", kind) for kind in ("csv", "jsonl", "parquet")]
    for raw in found:
        np.testing.assert_array_equal(raw.columns["n"], [1, np.nan, 3])
        np.testing.assert_array_equal(raw.columns["f"], [0.5, -2.25, 1e-300])
        assert words(raw, "w") == ["a", None, "b"]
        assert words(raw, "t") == ["true", "false", "true"]


def test_parquet_types_become_numbers_or_words(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    from datetime import date, datetime
    from decimal import Decimal

    columns = {
        "i8": pa.array([1, None], pa.int8()),
        "u64": pa.array([1, 2], pa.uint64()),
        "f32": pa.array([0.5, None], pa.float32()),
        "money": pa.array([Decimal("1.25"), None]),
        "day": pa.array([date(1970, 1, 2), None]),
        "moment": pa.array([datetime(1970, 1, 1, 0, 0, 1), None]),
        "word": pa.array(["a", None]).dictionary_encode(),
        "large": pa.array(["a", "b"], pa.large_string()),
        "void": pa.nulls(2),
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    raw = read(tmp_path / "t.parquet", "parquet")
    firsts = {n: c[0] for n, c in raw.columns.items() if not isinstance(c, Texts)}
    assert firsts.pop("void") != firsts.pop("i8") == 1
    assert firsts == {"u64": 2 - 1, "f32": 0.5, "money": 1.25, "day": 86_400, "moment": 1}
    assert words(raw, "word") == ["a", None]
    assert words(raw, "large") == ["a", "b"]
    assert np.isnan(raw.columns["day"][1])


numbers = st.floats(allow_nan=False, allow_infinity=False).map(repr)
texts = st.text(
    st.characters(exclude_characters="\0", exclude_categories=("Cs", "Zs", "Zl", "Zp", "Cc")),
    min_size=1,
    max_size=8,
).map(lambda text: "w" + text)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(numbers, texts), min_size=1, max_size=20), st.integers(1, 5))
def test_what_the_csv_writer_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], chunk_rows: int
) -> None:
    import csv

    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("n", "t"), *rows])
    large = [float(n) for n, _ in rows if float(n).is_integer() and abs(float(n)) >= 2**53]
    source = SourceSpec.model_validate({"kind": "csv", "path": path})
    if large and not all("e" in n or "." in n for n, _ in rows):
        return
    raw = source.read(Reading(chunk_rows=chunk_rows))
    assert raw.columns["n"].tolist() == [float(n) for n, _ in rows]
    assert words(raw, "t") == [text for _, text in rows]


mess = st.binary(max_size=200) | st.text(st.sampled_from('ab1,.\n"\r;e+- \t'), max_size=80).map(
    str.encode
)


@settings(max_examples=300, deadline=None)
@given(mess, st.sampled_from(["csv", "jsonl", "npz", "parquet"]))
def test_any_bytes_are_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, kind: str
) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path_factory.mktemp("mess") / f"t.{kind}"
    path.write_bytes(content)
    try:
        rows, message = len(read(path, kind)), None
    except DataError as error:
        rows, message = 0, str(error)
    assert rows > 0 or message is not None
    assert message is None or (message.startswith(f"{path}: ") and "\n" not in message)


def test_numbers_of_other_countries_are_read_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(
        "Betrag;Ort\n1.234,50;Köln\n-2,5;Ulm\n;Ulm\n1.000.000;Ulm\n".encode("cp1252")
    )
    raw = read(path, "csv", delimiter=";", decimal=",", thousands=".", charset="cp1252")
    np.testing.assert_array_equal(raw.columns["Betrag"], [1234.5, -2.5, np.nan, 1e6])
    assert words(raw, "Ort") == ["Köln", "Ulm", "Ulm", "Ulm"]


@pytest.mark.parametrize(
    ("how", "cell"),
    [
        ({"decimal": ","}, "1.5"),  # would be 15 or 1.5, and nobody knows
        ({"decimal": ",", "thousands": "."}, "1.25"),
        ({"decimal": ",", "thousands": "."}, "12345.678"),
        ({"thousands": ","}, "1,23"),
    ],
)
def test_a_number_with_marks_in_odd_places_is_refused(
    tmp_path: Path, how: dict[str, str], cell: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"a;b\n1;x\n2;x\n{cell};x\n")
    with pytest.raises(DataError, match=rf"row 4, column 'a': '{cell}' is not a finite number"):
        read(path, "csv", delimiter=";", **how)


@given(
    st.floats(-1e12, 1e12), st.sampled_from([(",", "."), (".", ","), (",", " "), (".", "'")])
)
def test_marks_are_undone(number: float, marks: tuple[str, str]) -> None:
    decimal, thousands = marks
    swap = str.maketrans({",": thousands, ".": decimal})
    plain = Marks(decimal, thousands).plain(f"{number:,.3f}".translate(swap))
    assert plain is not None
    assert float(plain) == float(f"{number:.3f}")


def test_a_file_without_a_header_has_numbered_or_given_columns(tmp_path: Path) -> None:
    path = tmp_path / "u.data"
    path.write_text("196\t242\t3\n186\t302\t4\n")
    raw = read(path, "csv", delimiter="\t", header=False)
    np.testing.assert_array_equal(raw.columns["column_2"], [242, 302])
    named = read(path, "csv", delimiter="\t", header=False, names=("user", "item", "stars"))
    np.testing.assert_array_equal(named.columns["stars"], [3, 4])
    assert raw.first_row == 1
    with pytest.raises(DataError, match=r"row 1: has 3 cells, and data.source.names has 2"):
        read(path, "csv", delimiter="\t", header=False, names=("user", "item"))


def test_a_delimiter_may_be_longer_than_one_character(tmp_path: Path) -> None:
    path = tmp_path / "movies.dat"
    path.write_bytes("1::Cité: a film, (1995)::5\n2::Heat::4\n".encode("latin-1"))
    raw = read(path, "csv", delimiter="::", header=False, charset="latin-1")
    assert words(raw, "column_2") == ["Cité: a film, (1995)", "Heat"]
    np.testing.assert_array_equal(raw.columns["column_3"], [5, 4])


def test_dates_in_another_form_order_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("when,x\n01.02.2026 00:30,1\n31.01.2026 23:30,2\n")
    raw = read(path, "csv", time="when", time_format="%d.%m.%Y %H:%M")
    assert raw.times is not None
    np.testing.assert_array_equal(np.diff(raw.times), [-3600])
    with pytest.raises(DataError, match=r"row 2, .*time_format: '%d.%m.%Y'"):
        read(path, "csv", time="when")
    with pytest.raises(DataError, match=r"row 2, .* is not written as time_format '%Y' says"):
        read(path, "csv", time="when", time_format="%Y")


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("a;b\n1;2\n", "; is it delimiter: ';'?"),
        ("1,5.5\n2,6.5\n", "; has the file a header? Say header: false if not"),
    ],
)
def test_a_wrong_idea_of_the_file_is_named_where_a_column_is_missing(
    tmp_path: Path, content: str, hint: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read(path, "csv", target="b")
    assert str(caught.value) == f"{path}: no column 'b'{hint}"


def test_quotes_may_be_letters(tmp_path: Path) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_text('"Go!" he said.\t"Va !" dit-il.\n5" pipe\ttuyau\n')
    raw = read(path, "csv", delimiter="\t", header=False, quoted=False)
    assert words(raw, "column_1") == ['"Go!" he said.', '5" pipe']
    with pytest.raises(DataError, match="say quoted: false"):
        read(path, "csv", delimiter="\t", header=False)
