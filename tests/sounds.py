"""Small recordings that tests write: words are tones, each of its own pitch."""

import csv
import wave
from pathlib import Path

import numpy as np

RATE = 4000
PITCH_HZ = {"low": 300.0, "mid": 700.0, "high": 1400.0}


def tone(word, seconds, generator, loudness=0.3):
    """Return samples of a word in [-1, 1], with noise."""
    time_S = np.arange(int(seconds * RATE)) / RATE
    pitch_hz = PITCH_HZ[word] * generator.uniform(0.95, 1.05)
    noise_S = 0.01 * generator.standard_normal(len(time_S))
    return loudness * np.sin(2 * np.pi * pitch_hz * time_S) + noise_S


def write_wav(path, samples, rate=RATE, channels=1):
    """Write samples as a WAV file of 16 bits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = (np.asarray(samples) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(whole.tobytes())
    return path


def write_words(folder, count=8, seed=0):
    """Write `count` recordings of each word: WORD/WORD_SPEAKER_NUMBER.wav."""
    generator = np.random.default_rng(seed)
    for word in PITCH_HZ:
        for number in range(count):
            samples = tone(word, generator.uniform(0.2, 0.35), generator)
            write_wav(Path(folder) / word / f"{word}_s{number % 2}_{number}.wav", samples)


def write_strings(folder, count=60, seed=1):
    """Write strings of one to three words and the table `said.csv` that names them."""
    generator, words = np.random.default_rng(seed), sorted(PITCH_HZ)
    rows = []
    for number in range(count):
        said = [words[i] for i in generator.integers(0, 3, size=generator.integers(1, 4))]
        pieces = [np.zeros(400)]
        for word in said:
            pieces += [tone(word, 0.2, generator), np.zeros(400)]
        name = f"strings/{number}.wav"
        write_wav(Path(folder) / name, np.concatenate(pieces))
        part = ("test", "validation", *["train"] * 4)[number % 6]
        rows.append((name, " ".join(said), part))
    with (Path(folder) / "said.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "said", "part"), *rows])
