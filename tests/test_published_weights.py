"""Published weights: the same numbers as torch's own encoder, and what a user is told."""

import pytest
import torch
from command_line import cli
from torch import nn

from modelscale.commands.published_weights import averaged
from modelscale.models.base import ModelSpec
from modelscale.models.modules.bert import EPS, from_published
from modelscale.tensors import Inputs

WIDTH, HEADS, BLOCKS, WORDS, POSITIONS = 12, 3, 2, 20, 9


def published(seed=0):
    """Return random weights by their published names."""
    draws = torch.Generator().manual_seed(seed)
    shapes = {
        "embeddings.word_embeddings.weight": (WORDS, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.position_embeddings.weight": (POSITIONS, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
    }
    for i in range(BLOCKS):
        for name, size in (
            ("attention.self.query", (WIDTH, WIDTH)),
            ("attention.self.key", (WIDTH, WIDTH)),
            ("attention.self.value", (WIDTH, WIDTH)),
            ("attention.output.dense", (WIDTH, WIDTH)),
            ("attention.output.LayerNorm", (WIDTH,)),
            ("intermediate.dense", (4 * WIDTH, WIDTH)),
            ("output.dense", (WIDTH, 4 * WIDTH)),
            ("output.LayerNorm", (WIDTH,)),
        ):
            shapes[f"encoder.layer.{i}.{name}.weight"] = size
            shapes[f"encoder.layer.{i}.{name}.bias"] = size[:1]
    return {name: torch.randn(shape, generator=draws) for name, shape in shapes.items()}


def by_torch(tensors, ids, filled):
    """Return the mean of the tokens by torch's own layers, with every bias in its place."""
    place = torch.arange(ids.shape[1])
    x = tensors["embeddings.word_embeddings.weight"][ids]
    x = x + tensors["embeddings.token_type_embeddings.weight"][0]
    x = x + tensors["embeddings.position_embeddings.weight"][place]
    norm = (tensors["embeddings.LayerNorm.weight"], tensors["embeddings.LayerNorm.bias"])
    x = nn.functional.layer_norm(x, (WIDTH,), *norm, EPS)
    for i in range(BLOCKS):
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", EPS, batch_first=True
        )
        old = {k.removeprefix(f"encoder.layer.{i}."): v for k, v in tensors.items()}
        names = ("query", "key", "value")
        state = {
            f"self_attn.in_proj_{part}": torch.cat(
                [old[f"attention.self.{name}.{part}"] for name in names]
            )
            for part in ("weight", "bias")
        }
        for ours, theirs in (
            ("self_attn.out_proj", "attention.output.dense"),
            ("linear1", "intermediate.dense"),
            ("linear2", "output.dense"),
            ("norm1", "attention.output.LayerNorm"),
            ("norm2", "output.LayerNorm"),
        ):
            state |= {f"{ours}.{p}": old[f"{theirs}.{p}"] for p in ("weight", "bias")}
        layer.load_state_dict(state)
        x = layer(x, src_key_padding_mask=~filled)
    return (x * filled[..., None]).sum(1) / filled.sum(1, keepdim=True)


def test_network_computes_what_the_published_one_does():
    tensors = published()
    spec = ModelSpec.model_validate(
        {"kind": "bert", "width": WIDTH, "blocks": BLOCKS, "heads": HEADS}
    )
    network = spec.build(Inputs((POSITIONS,), vocabulary=WORDS + 2), 4).eval()
    missing, unknown = network.load_state_dict(from_published(tensors, 7, HEADS), strict=False)
    assert not unknown
    assert {name for name in missing if not name.endswith("rate")} == {
        "head.weight",
        "head.bias",
    }
    network.head = nn.Identity()
    ids = torch.randint(1, WORDS, (5, POSITIONS), generator=torch.Generator().manual_seed(1))
    filled = torch.arange(POSITIONS) < torch.tensor([[9], [4], [1], [7], [2]])
    ours = network(torch.where(filled, ids + 2, 0).float())  # numbers begin behind two symbols
    torch.testing.assert_close(ours, by_torch(tensors, ids, filled), atol=1e-5, rtol=1e-4)


def test_unknown_symbol_is_the_published_one():
    table = from_published(published(), 7, HEADS)["body.table.weight"]
    assert table[1].equal(table[9])
    assert table[0].equal(table[2])


def test_published_vectors_are_averaged():
    vectors = torch.randn(WORDS, WIDTH, generator=torch.Generator().manual_seed(3))
    spec, tensors = averaged(vectors)
    network = spec.build(Inputs((5,), vocabulary=WORDS + 2), WORDS + 2).eval()
    _, unknown = network.load_state_dict(tensors, strict=False)
    assert not unknown
    ids = torch.tensor([[3, 3, 7], [0, 1, 19]])
    x = torch.nn.functional.pad(ids + 2.0, (0, 2))  # padding counts for nothing
    mean = vectors[ids].mean(1)
    torch.testing.assert_close(network[0](x), mean, atol=1e-5, rtol=1e-4)
    assert network[0](torch.tensor([[1.0, 0]])).allclose(vectors.mean(0), atol=1e-5)
    torch.testing.assert_close(network(x)[:, 2:], mean @ vectors.T, atol=1e-4, rtol=1e-4)


def test_weights_that_are_not_there_name_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELSCALE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "t.csv").write_text("body,topic\n" + "cow hay,farm\nship,sea\n" * 10)
    (tmp_path / "m.yaml").write_text(
        "data: {source: {kind: csv, path: t.csv, target: topic}, columns: {body: text}}\n"
        "model: {from: minilm}\n"
    )
    result = cli(tmp_path, "plan", "m.yaml")
    assert result.code == 66
    assert "get them with: modelscale data fetch minilm" in result.err


@pytest.mark.parametrize(("length", "code"), [(4, 0), (60, 78)])
def test_fewer_symbols_may_be_read(tmp_path, length, code):
    lines = ["body,topic", *["cow hay barn,farm", "ship sail salt,sea"] * 12]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    data = (
        "data: {source: {kind: csv, path: t.csv, target: topic}, columns: {body: text}%s}\n"
        "train: {epochs: 1}\n"
    )
    first = "model: {kind: bert, width: 8, heads: 2, blocks: 1}\n"
    (tmp_path / "a.yaml").write_text(data % ", text: {length: 6}" + first)
    assert cli(tmp_path, "train", "a.yaml", "-q").code == 0
    (tmp_path / "b.yaml").write_text(data % "" + f"model: {{from: a, length: {length}}}\n")
    result = cli(tmp_path, "train", "b.yaml", "-q")
    assert result.code == code, result.err
    if code:
        assert "it reads 6 symbols, not 60 (model.length)" in result.err
