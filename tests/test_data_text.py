"""Texts: how they are read, which symbols they become, and what a checkpoint keeps of it."""

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import cli
from hypothesis import given
from hypothesis import strategies as st

from modelscale.data.augmentations.base import AugmentationSpec
from modelscale.data.documents import Documents, DocumentWriter
from modelscale.data.loading import load, prepare, prepare_new
from modelscale.data.opening import read_new
from modelscale.data.packing import packed, unpacked
from modelscale.data.preprocessing import Preprocessing
from modelscale.data.raw import Texts
from modelscale.data.section import DataSection
from modelscale.data.sources.base import SourceSpec
from modelscale.data.tokenizers.base import TokenizerSpec
from modelscale.data.vocabulary import PADDING, UNKNOWN
from modelscale.errors import DataError, InputMissing, SpecError

TOPICS = ("farm", "sea")
WORDS = {"farm": "cow hay barn milk", "sea": "ship wave salt sail"}


def table(path: Path, rows: int = 40) -> Path:
    """Write texts of two topics; every row is different."""
    lines = ["text,label"]
    for i in range(rows):
        topic = TOPICS[i % 2]
        lines.append(f'"{WORDS[topic]} Number {i}, {WORDS[topic]}!",{topic}')
    path.write_text("\n".join(lines) + "\n")
    return path


def section(path: Path, **changes: object) -> DataSection:
    given = {
        "source": {"kind": "csv", "path": path, "target": "label"},
        "columns": {"text": "text"},
        "text": {"tokenizer": {"kind": "words"}, "length": 8},
    }
    return DataSection.model_validate(given | changes)


def loaded_texts(source: dict[str, object], **changes: object) -> list[str]:
    raw = load(DataSection.model_validate({"source": source, **changes})).raw
    cells = raw.columns["text"]
    assert isinstance(cells, Texts)
    return [cells.words[code] for code in cells.codes_N]


# Documents


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"])), max_size=20))
def test_documents_give_back_what_was_written(texts: list[str | None]) -> None:
    writer = DocumentWriter(None)
    code_N = writer.encode(texts[:7]).tolist() + writer.encode(texts[7:]).tolist()
    documents = writer.close()
    assert [documents[code] if code >= 0 else None for code in code_N] == texts
    assert list(documents) == [text for text in texts if text is not None]


def test_documents_on_disk_leave_no_file_behind(tmp_path: Path) -> None:
    writer = DocumentWriter(tmp_path)
    writer.encode(["é", None, ""])
    documents = writer.close()
    assert list(documents) == ["é", ""]
    assert list(tmp_path.iterdir()) == []


def test_documents_refuse_places_beyond_their_end() -> None:
    documents = Documents.of(["a", "b"])
    assert documents[-1] == "b"
    assert list(documents[:1]) == ["a"]
    with pytest.raises(IndexError):
        documents[2]


@given(st.dictionaries(st.text("ab/.", min_size=1), st.binary()))
def test_packed_files_come_out_as_they_went_in(files: dict[str, bytes]) -> None:
    assert dict(unpacked(packed(files))) == files


def test_damaged_pack_is_bad_data() -> None:
    with pytest.raises(DataError, match="damaged"):
        list(unpacked(packed({"a": b"12345"})[:-1]))


# Symbols


def symbols(text: str, *training: str, **fields: object) -> list[int]:
    spec = TokenizerSpec.model_validate({"min_count": 1} | fields)
    return spec.fit(training).encoder()(text)


def test_words_are_numbered_by_how_often_they_occur() -> None:
    assert symbols("the cat sat", "the cat the dog", "THE dog") == [2, 4, UNKNOWN]


def test_rare_words_and_those_beyond_the_vocabulary_are_unknown() -> None:
    assert symbols("a b c", "a a a b b c", min_count=2) == [2, 3, UNKNOWN]
    assert symbols("a b c", "a a a b b c", vocabulary=1) == [2, UNKNOWN, UNKNOWN]


def test_capitals_and_marks_count_where_the_spec_says_so() -> None:
    assert symbols("Cat!", "cat") == [2]
    assert symbols("Cat!", "cat", lowercase=False) == [UNKNOWN]
    assert symbols("cat!", "cat !", punctuation=True) == [3, 2]


def test_a_known_pair_stands_behind_its_words_and_an_unknown_one_nowhere() -> None:
    fit = TokenizerSpec.model_validate({"min_count": 1, "pairs": True}).fit(["new york"])
    names = dict(enumerate(fit.symbols, 2)) | {UNKNOWN: "?"}
    assert [names[i] for i in fit.encoder()("new york york")] == [
        "new",
        "york",
        "new york",
        "york",
    ]


def test_characters_of_training_are_known() -> None:
    fields = {"kind": "characters", "min_count": 1}
    del fields["min_count"]
    fit = TokenizerSpec.model_validate(fields).fit(["aab"])
    assert fit.encoder()("abc") == [2, 3, UNKNOWN]
    assert fit.size == 4


def test_byte_pairs_know_every_text_and_survive_writing() -> None:
    pytest.importorskip("tokenizers")
    spec = TokenizerSpec.model_validate({"kind": "byte_pairs", "vocabulary": 300})
    fit = spec.fit(["low lower lowest"] * 9)
    again = type(fit).model_validate_json(fit.model_dump_json())
    numbers = again.encoder()("lowest 日本")
    assert numbers == fit.encoder()("lowest 日本")
    assert len(numbers) < len("lowest 日本".encode())
    assert UNKNOWN not in numbers
    assert max(numbers) < again.size


def test_file_that_is_no_tokenizer_is_bad_data(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    path = tmp_path / "tokenizer.json"
    path.write_text('{"model": 1}')
    spec = TokenizerSpec.model_validate({"kind": "byte_pairs", "file": str(path)})
    with pytest.raises(DataError, match="is no tokenizer"):
        spec.fit([])
    with pytest.raises(InputMissing):
        spec.model_copy(update={"file": tmp_path / "no.json"}).fit([])


# Tables with a text column


def test_symbols_come_from_the_training_rows_alone(tmp_path: Path) -> None:
    how = section(table(tmp_path / "t.csv"))
    data = load(how)
    prepared = prepare(data, 0, "onehot", how)
    fitted = prepared.preprocessing
    assert fitted.symbols is not None
    cells = data.raw.columns["text"]
    training = " ".join(cells.words[i] for i in data.folds[0].train.tolist()).lower()
    assert all(word in training for word in fitted.symbols.symbols)
    assert prepared.inputs.vocabulary == len(fitted.symbols.symbols) + 2
    assert prepared.inputs.shape == (8,)


def test_texts_are_cut_padded_and_kept_small(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,label\n" + "a b c d e,x\na,y\n,x\n" * 10)
    how = section(path, text={"tokenizer": {"min_count": 1}, "length": 4})
    prepared = prepare(load(how), 0, "onehot", how)
    assert prepared.x.x.dtype == torch.int16
    x = prepared.x.take(torch.tensor([0, 1, 2]))
    assert x.dtype == torch.float32
    assert (x[0] > 0).all()
    assert x[1].tolist()[1:] == [PADDING] * 3
    assert x[2].tolist() == [PADDING] * 4


def test_disk_and_memory_give_the_same_symbols(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELSCALE_CACHE", str(tmp_path / "cache"))
    path, rows = table(tmp_path / "t.csv"), torch.arange(40)
    both = []
    for storage in ("memory", "disk"):
        how = section(path, storage=storage)
        both.append(prepare(load(how), 0, "onehot", how).x.take(rows))
    assert torch.equal(*both)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_table_format_gives_the_same_texts(tmp_path: Path, kind: str) -> None:
    rows = [{"text": f"line {i}\nü", "label": TOPICS[i % 2]} for i in range(12)]
    path = tmp_path / f"t.{kind}"
    if kind == "csv":
        path.write_text("text,label\n" + "".join(f'"{r["text"]}",{r["label"]}\n' for r in rows))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        columns = {name: [row[name] for row in rows] for name in ("text", "label")}
        parquet.write_table(pyarrow.table(columns), path)
    source = {"kind": kind, "path": str(path), "target": "label"}
    assert loaded_texts(source, columns={"text": "text"}) == [row["text"] for row in rows]


def test_other_columns_are_left_out_with_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,size,label\n" + "a b,1,x\nc d,2,y\n" * 10)
    assert load(section(path)).warnings == (
        "column 'size' is ignored: texts are the whole input",
    )
    with pytest.raises(SpecError, match=r"^data\.columns\.size: cannot be numeric beside"):
        load(section(path, columns={"text": "text", "size": "numeric"}))


def test_a_table_of_texts_alone_says_how_to_read_them(tmp_path: Path) -> None:
    how = section(table(tmp_path / "t.csv"), columns={}, text=None)
    with pytest.raises(SpecError, match=r"say data\.columns: \{text: text\}"):
        load(how)


def test_text_options_without_a_text_are_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,label\n" + "1,x\n2,y\n" * 10)
    with pytest.raises(SpecError, match=r"^data\.text: no column is text"):
        load(section(path, columns={}))


def test_new_texts_become_the_symbols_of_the_checkpoint(tmp_path: Path) -> None:
    how = section(table(tmp_path / "t.csv"))
    data = load(how)
    prepared = prepare(data, 0, "onehot", how)
    again = Preprocessing.from_json(json.loads(json.dumps(prepared.preprocessing.to_json())))
    assert again == prepared.preprocessing
    new = tmp_path / "new.jsonl"
    new.write_text(json.dumps({"text": data.raw.columns["text"].words[3]}) + "\n")
    x = prepare_new(again, read_new(new, again)).x.take(torch.tensor([0]))
    assert torch.equal(x, prepared.x.take(torch.tensor([3])))


def test_new_table_without_the_text_is_bad_data(tmp_path: Path) -> None:
    how = section(table(tmp_path / "t.csv"))
    fitted = prepare(load(how), 0, "onehot", how).preprocessing
    new = tmp_path / "new.csv"
    new.write_text("words\nhay\n")
    with pytest.raises(DataError, match="no column 'text'"):
        prepare_new(fitted, read_new(new, fitted))


# Folders


def test_folder_of_texts_takes_the_folder_for_the_class(tmp_path: Path) -> None:
    for topic in TOPICS:
        (tmp_path / topic).mkdir()
        for i in range(5):
            (tmp_path / topic / f"{i}.txt").write_text(f"{WORDS[topic]} {i}", encoding="utf-8")
    assert (
        loaded_texts({"kind": "text_folder", "path": str(tmp_path)})[5]
        == "ship wave salt sail 0"
    )


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.txt", b"\xff\xfe", "byte 0 is not UTF-8"),
        ("a.txt", b"a\0b", "NUL"),
        ("a.pdf", b"a", "not named like a text"),
    ],
)
def test_what_is_no_text_is_named(
    tmp_path: Path, name: str, content: bytes, fault: str
) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: .*{fault}"):
        SourceSpec.model_validate({"kind": "text_folder", "path": str(tmp_path)}).read()


# Windows of one text


def stream(path: Path, text: str, **fields: object) -> DataSection:
    path.write_text(text, encoding="utf-8")
    source = {"kind": "text_file", "path": str(path), "length": 4} | fields
    split = {"kind": "time", "validation": 0.2, "test": 0.1}
    return DataSection.model_validate({"source": source, "split": split})


@pytest.mark.parametrize("stride", [None, 1, 3, 9])
def test_parts_of_a_text_share_nothing(tmp_path: Path, stride: int | None) -> None:
    data = load(stream(tmp_path / "t.txt", "".join(map(chr, range(500, 900))), stride=stride))
    assert data.task == "language_model"
    fold = data.folds[0]
    ends = []
    for rows in (fold.train, fold.validation, fold.test):
        inside = data.raw.array[rows.numpy()]
        assert len(inside)
        ends += [inside.min(), inside.max()]
    assert ends == sorted(ends)
    # All that two parts have in common is the symbol in front of the later one's first window.
    assert ends[1] <= ends[2]
    assert ends[3] <= ends[4]


def test_windows_are_the_text_in_order(tmp_path: Path) -> None:
    how = stream(tmp_path / "t.txt", "abcdefghi" * 30)
    data = load(how)
    prepared = prepare(data, 0, "codes", how)
    names = dict(enumerate(prepared.preprocessing.symbols.symbols, 2))
    x = prepared.x.take(torch.tensor([0, 1]))
    assert ["".join(names[int(i)] for i in row) for row in x] == ["abcde", "efghi"]
    assert prepared.inputs.shape == (5,)
    assert prepared.targets == 4


def test_characters_that_training_never_saw_are_unknown(tmp_path: Path) -> None:
    how = stream(tmp_path / "t.txt", "ab" * 200 + "z" * 150)
    prepared = prepare(load(how), 0, "codes", how)
    assert prepared.preprocessing.symbols.symbols == ("a", "b")
    assert (prepared.x.take(prepared.rows["test"]) == UNKNOWN).all()


def test_plainest_model_counts_symbols(tmp_path: Path) -> None:
    how = stream(tmp_path / "t.txt", "aaab" * 100)
    prepared = prepare(load(how), 0, "codes", how)
    count = prepared.preprocessing.symbols.counts
    share = [(c + 1) / (sum(count) + len(count)) for c in count]
    x = prepared.x.take(torch.tensor([0]))[0, 1:].long().tolist()
    expected = -np.mean([math.log(share[i]) for i in x])
    assert prepared.y[0, 0].item() == pytest.approx(expected, rel=1e-5)


def test_words_of_a_text_with_marks_and_line_breaks(tmp_path: Path) -> None:
    how = stream(tmp_path / "t.txt", "To be, or\nnot. " * 40, unit="words")
    raw = load(how).raw
    names = raw.symbols.symbols
    assert [names[i] for i in raw.array[0]] == ["To", "be", ",", "or", "\n"]


def test_packed_text_reads_as_the_plain_one(tmp_path: Path) -> None:
    text = "ü and more\n" * 200
    plain = load(stream(tmp_path / "t.txt", text)).raw
    (tmp_path / "t.txt.gz").write_bytes(gzip.compress(text.encode()))
    source = {"kind": "text_file", "path": str(tmp_path / "t.txt.gz"), "length": 4}
    raw = SourceSpec.model_validate(source).read()
    assert np.array_equal(plain.array, raw.array)
    assert plain.fingerprint == raw.fingerprint


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"abc", "has 3 characters; a window takes 5"), (b"a" * 9 + b"\xff", "not UTF-8")],
)
def test_bad_texts_are_named(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=fault):
        SourceSpec.model_validate({"kind": "text_file", "path": str(path), "length": 4}).read()


def test_windows_of_a_text_need_a_split_in_time(tmp_path: Path) -> None:
    how = stream(tmp_path / "t.txt", "abc" * 99)
    with pytest.raises(SpecError, match=r"^data\.split: windows of one text"):
        load(how.model_copy(update={"split": type(section(tmp_path).split)()}))


# Augmentation


def test_token_dropout_drops_at_its_rate_and_leaves_padding() -> None:
    spec = AugmentationSpec.model_validate({"kind": "token_dropout", "rate": 0.3})
    x = torch.full((400, 50), 7.0)
    x[:, 40:] = PADDING
    uniform = torch.rand(400, spec.draws, generator=torch.Generator().manual_seed(0))
    out = spec.apply(x, uniform)
    assert (out[:, 40:] == PADDING).all()
    dropped = (out[:, :40] == UNKNOWN).float()
    assert dropped.mean().item() == pytest.approx(0.3, abs=0.015)
    # Neither positions nor examples are alike.
    assert dropped.mean(dim=0).std() < 0.05
    assert dropped.mean(dim=1).std().item() == pytest.approx(math.sqrt(0.3 * 0.7 / 40), rel=0.2)
    assert set(out.unique().tolist()) == {0.0, 1.0, 7.0}


def test_loose_texts_are_answered_by_their_names(tmp_path):
    for label, word in (("good", "lovely"), ("bad", "awful")):
        (tmp_path / "docs" / label).mkdir(parents=True)
        for number in range(12):
            (tmp_path / "docs" / label / f"{number}.txt").write_text(f"{word} day {number}")
    (tmp_path / "spec.yaml").write_text(
        "data: {source: {kind: text_folder, path: docs}}\nmodel: text_average\n"
        "optimizer: {kind: adam, lr: 0.05}\ntrain: {epochs: 20}\n"
    )
    assert cli(tmp_path, "train", "spec.yaml", "-q").code == 0
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "one.txt").write_text("an awful day")
    (tmp_path / "new" / "two.txt").write_text("a lovely day")
    result = cli(tmp_path, "predict", "spec", "--data", "new")
    assert result.code == 0, result.err
    assert [line.split(",")[:3] for line in result.out.splitlines()] == [
        ["row", "file", "prediction"],
        ["0", "new/one.txt", "bad"],
        ["1", "new/two.txt", "good"],
    ]
