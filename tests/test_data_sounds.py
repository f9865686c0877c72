"""Recordings: strict reading, rates, spectra, augmentations."""

import io
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy.signal import get_window, resample_poly, stft
from sounds import RATE, tone, write_wav, write_words

from modelscale.data.audio_section import AudioSection
from modelscale.data.augmentations.base import AugmentationSpec
from modelscale.data.loading import load, prepare
from modelscale.data.mel import MelInputs, mel_filters
from modelscale.data.raw import Raw
from modelscale.data.reading import Reading
from modelscale.data.resampling import resampled
from modelscale.data.section import DataSection
from modelscale.data.sound_files import decode
from modelscale.data.sound_fitting import spectra_of
from modelscale.data.sources.base import SourceSpec
from modelscale.errors import DataError, InputMissing, SpecError


@pytest.fixture
def words(tmp_path):
    write_words(tmp_path / "words", count=4)
    return tmp_path / "words"


def source(kind, **fields):
    return SourceSpec.model_validate({"kind": kind, **fields})


def wav(samples, **how):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        return write_wav(Path(folder) / "x.wav", samples, **how).read_bytes()


# Reading


def test_class_folders_give_their_samples_and_nan_behind_the_end(words):
    raw = source("audio_folder", path=words).read()
    assert raw.target.words == ("high", "low", "mid")
    assert (raw.rate, len(raw)) == (RATE, 12)
    length_N = (~np.isnan(raw.array)).sum(axis=1)
    assert length_N.max() == raw.array.shape[1]
    first = (words / "high" / "high_s0_0.wav").read_bytes()[44:]
    expected = np.frombuffer(first, dtype="<i2") / 32768
    np.testing.assert_allclose(raw.array[0, : length_N[0]], expected, atol=1e-7)
    assert np.isnan(raw.array[0, length_N[0] :]).all()


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_whole_numbers_of_every_width_are_the_same_recording(width, tmp_path):
    soundfile = pytest.importorskip("soundfile")
    samples = tone("low", 0.1, np.random.default_rng(0))
    kinds = {1: "PCM_U8", 2: "PCM_16", 3: "PCM_24", 4: "PCM_32"}
    soundfile.write(tmp_path / "x.wav", samples, RATE, subtype=kinds[width])
    found = decode((tmp_path / "x.wav").read_bytes(), "x.wav", "one")
    expected, _ = soundfile.read(tmp_path / "x.wav", dtype="float32")
    np.testing.assert_allclose(found.samples_S, expected, atol=1e-7)


@pytest.mark.parametrize(("name", "subtype"), [("x.flac", "PCM_16"), ("x.wav", "FLOAT")])
def test_other_formats_are_read_with_the_extra(name, subtype, tmp_path):
    soundfile = pytest.importorskip("soundfile")
    samples = tone("low", 0.1, np.random.default_rng(0))
    soundfile.write(tmp_path / name, samples, RATE, subtype=subtype)
    found = decode((tmp_path / name).read_bytes(), name, "one")
    np.testing.assert_allclose(found.samples_S, samples, atol=1e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x.wav: is no WAV file"),
        (b"RIFF____WAVEdata", "x.wav: is damaged: the WAV file does not say how it is written"),
        (wav([0.1] * 50)[:100], "x.wav: is cut off: holds 28 of 50 samples"),
        (wav([]), "x.wav: has no samples"),
        (wav([0.1] * 4, channels=2), "x.wav: has 2 channels; say which to take: channels: mix"),
        (wav([0.1], rate=10), "x.wav: has 10 samples a second; 1,000 to 384,000 do"),
    ],
)
def test_damaged_recordings_are_named(content, message):
    with pytest.raises(DataError, match=message):
        decode(content, "x.wav", "one")


def test_another_rate_needs_to_be_said_and_is_then_converted(words):
    write_wav(words / "low" / "other.wav", np.zeros(2000), rate=2 * RATE)
    with pytest.raises(DataError, match=r"other.wav: has 8,000 samples a second, the first"):
        source("audio_folder", path=words).read()
    raw = source("audio_folder", path=words, rate=RATE).read()
    assert 1000 in (~np.isnan(raw.array)).sum(axis=1)


def test_channels_can_be_averaged_or_dropped():
    content = wav(np.stack([[0.2, 0.4], [0.4, 0.0]], axis=1), channels=2)
    np.testing.assert_allclose(decode(content, "x.wav", "mix").samples_S, [0.3, 0.2], atol=1e-4)
    np.testing.assert_allclose(
        decode(content, "x.wav", "first").samples_S, [0.2, 0.4], atol=1e-4
    )


def test_memory_and_disk_hold_the_same(words, tmp_path):
    spec = source("audio_folder", path=words)
    held, spilled = spec.read(), spec.read(Reading(spill=tmp_path))
    np.testing.assert_array_equal(held.array, spilled.array)
    assert isinstance(spilled.array, np.memmap)
    assert held.fingerprint == spilled.fingerprint


def test_names_of_files_say_class_group_and_part(words):
    raw = source(
        "audio_files",
        path=[words],
        pattern="{word}_{speaker}_{number}.wav",
        target="word",
        group="speaker",
        test={"number": [3]},
        validation={"number": ["2"]},
    ).read()
    # By name: speaker 0 has the numbers 0 and 2, speaker 1 has 1 and 3.
    parts = [raw.part.words[c] for c in raw.part.codes_N[:4]]
    assert parts == ["train", "validation", "train", "test"]
    assert raw.groups[:4].tolist() == [0, 0, 1, 1]
    assert raw.target.words == ("high", "low", "mid")


def test_archives_hold_what_the_folder_holds(words, tmp_path):
    files = sorted(words.rglob("*.wav"))
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        for file in files:
            archive.add(file, file.relative_to(words))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in files:
            archive.write(file, file.relative_to(words))
        archive.writestr("README", "passed over")
    found = [
        source("audio_files", path=[p], pattern="{c}/{n}.wav", target="c").read()
        for p in (words, tmp_path / "a.tar.gz", tmp_path / "a.zip")
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].array, other.array)
        assert other.fingerprint == found[0].fingerprint


def test_hostile_and_damaged_archives_are_refused(tmp_path):
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        member = tarfile.TarInfo("x.wav")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(DataError, match=r"x.wav: is no regular file"):
        source("audio_files", path=[tmp_path / "link.tar"]).read()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo("x.wav")
        member.size = 5000
        archive.addfile(member, io.BytesIO(np.random.default_rng(0).bytes(5000)))
    (tmp_path / "cut.tar.gz").write_bytes(buffer.getvalue()[:2000])
    with pytest.raises(DataError, match=r"cut.tar.gz: is no intact archive"):
        source("audio_files", path=[tmp_path / "cut.tar.gz"]).read()
    with pytest.raises(InputMissing):
        source("audio_files", path=[tmp_path / "none.zip"]).read()


def test_patterns_and_tables_say_what_is_wrong(words, tmp_path):
    with pytest.raises(ValidationError, match=r"the pattern has no field \{digit\}"):
        source("audio_files", path=[words], pattern="{a}.wav", target="digit")
    with pytest.raises(DataError, match=r"is not named like \{a\}-\{b\}.wav"):
        source("audio_files", path=[words], pattern="{a}-{b}.wav").read()
    with pytest.raises(DataError, match=r"no recording whose \{n\} is '9'"):
        source("audio_files", path=[words], pattern="{a}_{b}_{n}.wav", test={"n": [9]}).read()
    (tmp_path / "t.csv").write_text("file,word\nwords/low/low_s0_0.wav,low\nnone.wav,mid\n")
    with pytest.raises(InputMissing, match=r"t.csv: row 3: .*none.wav: No such file"):
        source("audio_table", path=tmp_path / "t.csv", target="word").read()


def test_strings_join_recordings_of_one_part(words):
    single = {
        "kind": "audio_files",
        "path": [words],
        "pattern": "{word}_{speaker}_{number}.wav",
        "target": "word",
        "test": {"number": [3]},
    }
    raw = source("audio_strings", of=single, count=40, longest=3, words={"low": "deep"}).read()
    assert len(raw) == 50
    said = [raw.target.words[code].split() for code in raw.target.codes_N]
    assert {len(words) for words in said} == {1, 2, 3}
    assert {word for words in said for word in words} == {"deep", "mid", "high"}
    of = source("audio_files", **{k: v for k, v in single.items() if k != "kind"}).read()
    tests = of.array[np.asarray(of.part.codes_N) == 2]
    row = raw.array[-1][~np.isnan(raw.array[-1])]
    loud = row[row != 0]
    heads = [t[~np.isnan(t)][:20] for t in tests]
    assert any(np.array_equal(loud[:20], head[head != 0][:20]) for head in heads)


# Rates and spectra


@pytest.mark.parametrize(("old", "new"), [(8000, 4000), (44100, 8000), (8000, 11025)])
def test_resampling_equals_scipy(old, new):
    samples = np.random.default_rng(0).standard_normal(3000).astype(np.float32)
    divisor = np.gcd(old, new)
    expected = resample_poly(samples.astype(np.float64), new // divisor, old // divisor)
    np.testing.assert_allclose(resampled(samples, old, new), expected, atol=1e-5)


def _raw(samples_NS, rate=8000):
    labels = np.arange(len(samples_NS), dtype=np.float64) % 2
    return Raw(labels, ("y",), "0", "test", array=samples_NS.astype(np.float32), rate=rate)


def _module(raw, **how):
    from modelscale.data.fitting import fit

    section = DataSection.model_validate({"source": "iris", "audio": how, "standardize": False})
    return fit(raw, "classification", np.arange(len(raw)), "onehot", section).module()


def test_spectra_equal_scipy_and_filters_by_hand():
    samples_NS = np.random.default_rng(0).standard_normal((2, 4000))
    module = _module(_raw(samples_NS), bands=20, low_hz=100.0)
    found = module(torch.from_numpy(samples_NS.astype(np.float32)))[:, 0]
    window = get_window("hann", 200)
    _, _, z = stft(
        samples_NS,
        nperseg=200,
        noverlap=120,
        nfft=256,
        window=window,
        boundary=None,
        padded=False,
    )
    energy = np.abs(z * window.sum()) ** 2
    edges = 700 * (
        10
        ** (
            np.linspace(2595 * np.log10(1 + 100 / 700), 2595 * np.log10(1 + 4000 / 700), 22)
            / 2595
        )
        - 1
    )
    frequency = np.arange(129) * 8000 / 256
    filters = [
        np.interp(frequency, edges[b : b + 3], [0, 1, 0], left=0, right=0) for b in range(20)
    ]
    expected = np.log(np.maximum(np.array(filters) @ energy, 1e-6))
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-3)


def test_slaney_filters_have_equal_area_and_an_even_scale_below_1_khz():
    spectra = spectra_of(
        AudioSection(bands=30, scale="slaney", low_hz=0.0), _raw(np.zeros((1, 9)))
    )
    filters = mel_filters(spectra)
    width_hz = spectra.rate / 256
    wide = filters[filters.shape[0] // 2 :]
    torch.testing.assert_close(
        wide.sum(1) * width_hz, torch.ones(len(wide), dtype=wide.dtype), atol=0.03, rtol=0
    )
    peaks_hz = filters.argmax(1) * width_hz
    below = peaks_hz[peaks_hz < 950]
    assert (below.diff() - below.diff().mean()).abs().max() <= width_hz


def test_frames_behind_the_end_are_zero_and_change_nothing():
    samples_NS = np.random.default_rng(0).standard_normal((2, 2000))
    longer = np.full((2, 4000), np.nan)
    longer[:, :2000] = samples_NS
    for how in ({}, {"remove_mean": True}):
        alone = _module(_raw(samples_NS), **how)(torch.from_numpy(samples_NS).float())
        padded = _module(_raw(longer), **how)(torch.from_numpy(longer).float())
        frames = alone.shape[-1]
        torch.testing.assert_close(padded[..., :frames], alone, atol=1e-4, rtol=1e-4)
        assert (padded[..., frames:] == 0).all()
        assert (alone != 0).any(2).all()


def test_quiet_recordings_are_raised_and_loud_ones_left():
    sound_N = np.random.default_rng(0).standard_normal(2000)
    rows = np.stack([sound_N, 1e-3 * sound_N, np.full(2000, np.nan)])
    rows[2, :1500] = 1e-4 * sound_N[:1500]  # what lies behind the end is no silence
    found = _module(_raw(rows), raise_to_db=-20.0)(torch.from_numpy(rows).float())
    plain = _module(_raw(rows))(torch.from_numpy(rows).float())
    torch.testing.assert_close(found[0], plain[0])
    power = np.mean(sound_N**2), np.mean(sound_N[:1500] ** 2)
    for row, factor in ((1, 1e-3), (2, 1e-4)):
        raised = np.sqrt(0.01 / power[row - 1]) / factor * rows[row : row + 1]
        expected = _module(_raw(rows))(torch.from_numpy(raised).float())
        torch.testing.assert_close(found[row], expected[0], atol=1e-3, rtol=1e-3)


def test_bands_are_standardised_on_the_training_rows(words):
    section = DataSection(source=source("audio_folder", path=words))
    data = prepare(load(section), 0, "onehot", section)
    x = data.x.take(data.rows["train"])[:, 0]
    held = (x != 0).any(1)
    values = x.transpose(1, 2)[held]
    torch.testing.assert_close(values.mean(0), torch.zeros(40), atol=1e-3, rtol=0)
    torch.testing.assert_close(values.std(0), torch.ones(40), atol=1e-2, rtol=0)
    assert isinstance(data.preprocessing.module(), MelInputs)
    again = type(data.preprocessing).from_json(data.preprocessing.to_json())
    assert again == data.preprocessing


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"high_hz": 5000.0}, "high_hz: 5000 is above half the rate"),
        ({"bands": 200}, "bands are narrower than"),
    ],
)
def test_impossible_spectra_are_refused(how, message):
    with pytest.raises(SpecError, match=message):
        _module(_raw(np.zeros((2, 800))), **how)


# Augmentations


RECORDINGS = [
    kind
    for kind in AugmentationSpec.kinds()
    if AugmentationSpec.of_kind(kind).form == "recordings"
]


@pytest.mark.parametrize("kind", RECORDINGS)
def test_padding_stays_padding(kind):
    x = torch.randn(6, 1, 20, 30, generator=torch.Generator().manual_seed(0))
    x[..., 20:] = 0
    spec = AugmentationSpec.model_validate(kind)
    uniform = torch.rand(6, spec.draws, generator=torch.Generator().manual_seed(1))
    out = spec.apply(x, uniform)
    assert (out[..., 26:] == 0).all()  # nothing becomes longer by more than a fifth
    assert not torch.equal(out, x)
    middle = torch.full((6, spec.draws), 0.5)
    if kind in {"speed", "vocal_tract", "loudness", "time_shift"}:
        torch.testing.assert_close(spec.apply(x, middle), x, atol=1e-5, rtol=1e-5)
