"""Hostile and damaged data: each file is one clear line with row and column; exit code 65."""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from modelscale.data.sources.base import SourceSpec
from modelscale.errors import DataError, InputMissing

CATEGORY = "; for text that only looks like numbers say data.columns: {a: category}"
NOT_FINITE = "is not a finite number, as most of the column are"
TOO_LARGE = "is a number too large to be kept exactly"

CSV = {
    "empty": (b"", "is empty"),
    "bom alone": (b"\xef\xbb\xbf", "row 1: is empty; column names belong there"),
    "line break in a name": (
        b'"a\nb",b\n1,2\n',
        "the name of column 1, 'a\\nb', has a line break or another control character",
    ),
    "blank header": (b"\n1,2\n", "row 1: is empty; column names belong there"),
    "header only": (b"a,b\n", "has no rows"),
    "unnamed column": (b"a,,c\n1,2,3\n", "row 1: column 2 has no name"),
    "duplicate header": (b"a,b,a\n1,2,3\n", "row 1: two columns are named 'a'"),
    "duplicate header after blanks": (b"a, a\n1,2\n", "row 1: two columns are named 'a'"),
    "long row": (
        b"a,b\n1,2\n1,2,3\n",
        "row 3: has 3 cells, the header has 2; quote cells that contain ','",
    ),
    "short row": (b"a,b\n1,2\n1\n", "row 3: has 1 cells, the header has 2"),
    "blank line within": (b"a,b\n1,2\n\n3,4\n", "row 3: is empty"),
    "NUL": (b"a,b\n1,2\n1,\x002\n", "row 3: has a NUL byte; is it a text file?"),
    "latin-1": (
        "a,b\n1,x\n2,é\n".encode("latin-1"),
        "row 3: byte 0xE9 is not UTF-8; save the file as UTF-8",
    ),
    "lone surrogate": (
        b"a,b\n1,\xed\xa0\x80\n",
        "row 2: byte 0xED is not UTF-8; save the file as UTF-8",
    ),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "is UTF-16; save it as UTF-8"),
    "UTF-16 without mark": (
        "a,b\n1,2\n".encode("utf-16-le"),
        "row 1: has a NUL byte; is it a text file?",
    ),
    "gzip": (b"\x1f\x8b\x08\x00abc\n", "row 1: has a NUL byte; is it a text file?"),
    "1e400": (b"a,b\n1,2\n1e400,2\n", f"row 3, column 'a': '1e400' {TOO_LARGE}{CATEGORY}"),
    "inf": (b"a,b\n1,2\n3,4\ninf,2\n", f"row 4, column 'a': 'inf' {NOT_FINITE}{CATEGORY}"),
    "-Infinity": (
        b"a,b\n1,2\n3,4\n-Infinity,2\n",
        f"row 4, column 'a': '-Infinity' {NOT_FINITE}{CATEGORY}",
    ),
    "huge integer": (
        b"a,b\n1,2\n9223372036854775808,2\n",
        f"row 3, column 'a': '9223372036854775808' {TOO_LARGE}{CATEGORY}",
    ),
    "mixed types": (
        b"a,b\n1,2\n3,4\nfive,2\n",
        f"row 4, column 'a': 'five' {NOT_FINITE}{CATEGORY}",
    ),
    "decimal comma": (
        b'a,b\n1,2\n3,4\n"1,5",2\n',
        f"row 4, column 'a': '1,5' {NOT_FINITE}{CATEGORY}",
    ),
    "underscored number": (
        b"a,b\n1,2\n3,4\n1_000,2\n",
        f"row 4, column 'a': '1_000' {NOT_FINITE}{CATEGORY}",
    ),
    "digits of another script": (
        "a,b\n1,2\n3,4\n٣,2\n".encode(),
        f"row 4, column 'a': '٣' {NOT_FINITE}{CATEGORY}",
    ),
    "mixed target": (b"a,b\n1,2\n3,4\n5,x\n", f"row 4, column 'b': 'x' {NOT_FINITE}"),
    "unterminated quote": (
        b'a,b\n1,"2\n3,4\n',
        "row 2: a quote is opened and never closed; if quotes are letters say quoted: false",
    ),
    "text after quote": (
        b'a,b\n1,"2"x\n',
        "row 2: text follows a closing quote; a quote within a cell is written twice, or say "
        "quoted: false if quotes are letters",
    ),
    "lone carriage return": (
        b"a,b\r1,2\r",
        "row 1: a line ends with a lone carriage return; save the file with usual line ends",
    ),
    "huge cell": (
        b"a,b\n1," + b"x" * (1 << 20) + b"yz\n",
        "row 2: a cell is longer than 1,048,576 characters",
    ),
    "quoted newline, then a short row": (
        b'a,b\n"x\ny",2\n"z"\n',
        "row 3: has 1 cells, the header has 2",
    ),
    "no such target": (b"weight,height\n1,2\n", "no column 'b' (one of: height, weight)"),
}


def refuse(error: type[Exception], source: dict[str, object]) -> str:
    with pytest.raises(error) as caught:
        SourceSpec.model_validate(source).read()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("case", CSV)
def test_hostile_csv_is_refused_with_row_and_column(case: str, tmp_path: Path) -> None:
    content, wanted = CSV[case]
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    message = refuse(DataError, {"kind": "csv", "path": path, "target": "b"})
    assert message == f"{path}: {wanted}"


def test_wrong_delimiter_and_binary_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_bytes(b"a;b\n1,2\n")
    assert refuse(DataError, {"kind": "csv", "path": path}) == (
        f"{path}: row 2: has 2 cells, the header has 1; is it delimiter: ';'?"
    )
    path.write_bytes(bytes(range(1, 256)))
    assert refuse(DataError, {"kind": "csv", "path": path}).startswith(f"{path}: ")


JSONL = {
    "empty": (b"", "is empty"),
    "blank line within": (b'{"a": 1}\n\n{"a": 2}\n', "row 2: is empty"),
    "not JSON": (
        b'{"a": 1}\n{"a": \n',
        "row 2: is not a JSON object: Expecting value: line 2 column 1 (char 7)",
    ),
    "a list": (b"[1, 2]\n", "row 1: is not a JSON object, but [1, 2]"),
    "no keys": (b"{}\n", "row 1: the object has no keys"),
    "NaN": (
        b'{"a": NaN}\n',
        "row 1: is not a JSON object: NaN is not JSON; write null for a missing number",
    ),
    "1e400": (b'{"a": 1}\n{"a": 1e400}\n', f"row 2, column 'a': inf {TOO_LARGE}{CATEGORY}"),
    "huge integer": (
        b'{"a": 1}\n{"a": 9007199254740993}\n',
        f"row 2, column 'a': 9007199254740993 {TOO_LARGE}{CATEGORY}",
    ),
    "duplicate key": (
        b'{"a": 1, "a": 2}\n',
        "row 1: is not a JSON object: key 'a' stands there twice",
    ),
    "new key": (
        b'{"weight": 1}\n{"q": 1}\n',
        "row 2: key 'q' is not in the first row (one of: weight)",
    ),
    "nested value": (
        b'{"a": {"b": 1}}\n',
        "row 1, column 'a': {'b': 1} is neither a number nor text; to leave it out say "
        "data.columns: {a: ignore}",
    ),
    "nesting bomb": (b"[" * 200_000 + b"\n", "row 1: is nested too deeply"),
    "latin-1": (b'{"a": "\xe9"}\n', "row 1: byte 0xE9 is not UTF-8"),
    "half a surrogate pair": (
        b'{"a": "\\ud800"}\n',
        "row 1, column 'a': has half of a surrogate pair",
    ),
}


@pytest.mark.parametrize("case", JSONL)
def test_hostile_json_lines_are_refused_with_row_and_column(case: str, tmp_path: Path) -> None:
    content, wanted = JSONL[case]
    path = tmp_path / "file.jsonl"
    path.write_bytes(content)
    message = refuse(DataError, {"kind": "jsonl", "path": path})
    assert message == f"{path}: {wanted}"


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=array.dtype.hasobject)
    return stream.getvalue()


def write_npz(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


GOOD = npy(np.zeros((3, 2), dtype=np.float32))
HUGE = np.lib.format.magic(1, 0) + (
    b"v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000, 100000)}".ljust(120)
    + b"\n"
)
NPZ = {
    "pickled objects": (
        {"x": npy(np.array([{}, []], dtype=object))},
        "array 'x': holds Python objects, which are never loaded",
    ),
    "no x": ({"y": GOOD}, "has no array 'x' (it has 'y')"),
    "cut off": ({"x": GOOD[:-4]}, "array 'x': is cut off"),
    "declares more than it has": ({"x": HUGE}, "array 'x': is cut off"),
    "no array": (
        {"x": b"hello world, this is text"},
        "array 'x': is no intact NumPy array: the magic string is not correct; "
        "expected b'\\x93NUMPY', got b'hello '",
    ),
    "one dimension": (
        {"x": npy(np.zeros(3))},
        "array 'x' has the shape (3,); it must be (rows, features), (rows, "
        "height, width) or (rows, channels, height, width)",
    ),
    "channels last": (
        {"x": npy(np.zeros((2, 8, 8, 3)))},
        "array 'x' has the shape (2, 8, 8, 3), whose channels come last; save "
        "x.transpose(0, 3, 1, 2)",
    ),
    "text": ({"x": npy(np.array([["a"]]))}, "array 'x' has the type <U1; it must hold numbers"),
    "complex": (
        {"x": npy(np.zeros((2, 2), dtype=complex))},
        "array 'x' has the type complex128; it must hold numbers",
    ),
    "infinite": (
        {"x": npy(np.array([[0.0], [np.inf]]))},
        "array 'x': row 2: has a value that is not a finite number of single precision",
    ),
    "NaN": (
        {"x": npy(np.array([[0.0], [np.nan]]))},
        "array 'x': row 2: has a value that is not a finite number of single precision",
    ),
    "beyond single precision": (
        {"x": npy(np.array([[1e39]]))},
        "array 'x': row 1: has a value that is not a finite number of single precision",
    ),
    "other rows in y": (
        {"x": GOOD, "y": npy(np.zeros(4))},
        "x has 3 rows, and y has the shape (4,)",
    ),
    "dates in y": (
        {"x": GOOD, "y": npy(np.zeros(3, dtype="M8[s]"))},
        "array 'y' has the type datetime64[s]; it must be numbers or text",
    ),
}


@pytest.mark.parametrize("case", NPZ)
def test_hostile_npz_is_refused(case: str, tmp_path: Path) -> None:
    members, wanted = NPZ[case]
    path = tmp_path / "file.npz"
    write_npz(path, **members)
    assert refuse(DataError, {"kind": "npz", "path": path}) == f"{path}: {wanted}"


def test_npz_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.npz"
    path.write_bytes(b"PK\x03\x04 not really")
    message = refuse(DataError, {"kind": "npz", "path": path})
    assert message == f"{path}: is no intact .npz file: File is not a zip file"


def test_npz_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    rows = 1 << 40  # 4 TiB declared; the archive is a few hundred bytes
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (rows, 1)}
    )
    path = tmp_path / "file.npz"
    write_npz(path, x=header.getvalue())
    content = bytearray(path.read_bytes())
    # Say in the archive's directory that the member is as large as its header claims.
    with zipfile.ZipFile(path) as archive:
        size = archive.getinfo("x.npy").file_size
    directory = content.rindex(b"PK\x01\x02")
    assert content[directory + 24 : directory + 28] == size.to_bytes(4, "little")
    content[directory + 24 : directory + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    path.write_bytes(content)
    message = refuse(DataError, {"kind": "npz", "path": path})
    assert message == f"{path}: array 'x': is cut off"


def test_npy_pair_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(GOOD[:-1])
    message = refuse(DataError, {"kind": "npz", "path": path})
    assert message == f"{path}: is cut off, or longer than its header says"


def test_missing_inputs_say_so(tmp_path: Path) -> None:
    absent = tmp_path / "absent.csv"
    fifo = tmp_path / "fifo.csv"
    os.mkfifo(fifo)
    read = {"kind": "csv", "target": "b"}
    message = refuse(InputMissing, {**read, "path": absent})
    assert message == f"{absent}: No such file or directory"
    assert refuse(InputMissing, {**read, "path": tmp_path}) == f"{tmp_path}: is a folder"
    assert refuse(InputMissing, {**read, "path": fifo}) == f"{fifo}: is not a regular file"
    nul = f"{tmp_path}/a\0b"
    assert "embedded null byte" in refuse(InputMissing, {**read, "path": Path(nul)})
    assert InputMissing.exit_code == 66
    assert DataError.exit_code == 65


def test_hostile_parquet_is_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "file.parquet"

    def refused(table: object) -> str:
        pq.write_table(table, path)
        message = refuse(DataError, {"kind": "parquet", "path": path})
        assert message.startswith(f"{path}: ")
        return message.removeprefix(f"{path}: ")

    nested = pa.table({"a": [[1], [2]]})
    assert refused(nested).startswith("column 'a' has the type list<")
    binary = pa.table({"a": pa.array([b"x"])})
    assert "column 'a' has the type binary" in refused(binary)
    marked = pa.field("a", pa.int64(), metadata={"ARROW:extension:name": "evil"})
    hidden = pa.table([pa.array([1])], schema=pa.schema([marked]))
    assert "column 'a' has the type int64" in refused(hidden)
    uuid = pa.table({"a": pa.array([b"0" * 16], pa.binary(16)).cast(pa.uuid())})
    assert "column 'a' has the type extension" in refused(uuid)
    infinite = pa.table({"a": [1.0, float("inf")]})
    assert refused(infinite) == f"row 2, column 'a': inf {TOO_LARGE}{CATEGORY}"
    huge = pa.table({"a": [1, 2**62]})
    assert refused(huge) == f"row 2, column 'a': {2**62} {TOO_LARGE}{CATEGORY}"
    assert refused(pa.table({"a": pa.array([], pa.int64())})) == "has no rows"
    pq.write_table(pa.table({"a": list(range(1000))}), path)
    path.write_bytes(path.read_bytes()[:-20])
    message = refuse(DataError, {"kind": "parquet", "path": path})
    assert message.startswith(f"{path}: is no intact Parquet file: ")


def test_hostile_image_folders_are_refused(tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")

    def png(width: int, height: int) -> bytes:
        stream = io.BytesIO()
        image_module.new("RGB", (width, height), (1, 2, 3)).save(stream, "PNG")
        return stream.getvalue()

    root = tmp_path / "images"
    source = {"kind": "image_folder", "path": root}
    assert refuse(InputMissing, source) == f"{root}: No such file or directory"
    root.mkdir()
    assert refuse(DataError, source) == f"{root}: has no class folders"
    (root / "cat").mkdir()
    assert refuse(DataError, source) == f"{root / 'cat'}: the class folder is empty"
    file = root / "cat" / "a.png"
    file.write_bytes(b"not an image")
    assert refuse(DataError, source) == f"{file}: is no PNG image"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    image_module.fromarray(noise).save(file)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert refuse(DataError, source).startswith(f"{file}: is damaged: ")
    file.write_bytes(png(9, 8))
    other = root / "cat" / "b.png"
    other.write_bytes(png(8, 8))
    assert refuse(DataError, source) == (
        f"{other}: is 8×8 pixels, the first image is 8×9; say the size: size: [8, 9]"
    )
    message = refuse(DataError, {**source, "max_pixels": 71})
    assert message == f"{file}: 8×9 pixels are more than max_pixels (71)"
    bomb = root / "cat" / "a.jpg"
    bomb.write_bytes(png(8, 8))
    assert refuse(DataError, source) == f"{bomb}: is no JPEG image"
    bomb.unlink()
    deep = root / "cat" / "c.png"
    image_module.fromarray(np.zeros((8, 9), dtype=np.uint16)).save(deep)
    other.unlink()
    assert (
        refuse(DataError, source) == f"{deep}: has more than 8 bits a channel; save it with 8"
    )
    deep.unlink()
    stray = root / "note.txt"
    stray.write_text("x")
    assert refuse(DataError, source) == (
        f"{stray}: lies beside the class folders; move it into one"
    )
    stray.unlink()
    (root / "cat" / "notes.txt").write_text("x")
    assert refuse(DataError, source).endswith(
        "notes.txt: is not named like an image (.bmp, .jpeg, .jpg, .pgm, .png, .ppm)"
    )


def test_message_stays_one_short_line_for_a_long_cell(tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("a,b\n1,1\n2,2\n" + json.dumps("x" * 5000 + "\n") + ",3\n")
    message = refuse(DataError, {"kind": "csv", "path": path})
    assert len(message) < len(str(path)) + 250
