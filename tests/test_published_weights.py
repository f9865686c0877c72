"""Published weights: the same numbers as torch's own encoder, and what a user is told."""

import pytest
import torch
from command_line import cli
from torch import nn

from modelscale.commands.published_weights import averaged
from modelscale.models.base import ModelSpec
from modelscale.models.modules.bert import EPS, from_published
from modelscale.models.modules.efficientnet import from_published as images_from_published
from modelscale.models.modules.voice import from_published as voice_from_published
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


def published_images(draws):
    """Return random weights by the names of the published port, and in its order."""
    tensors = {}

    def norm(name, channels):
        for part in ("weight", "bias", "running_mean"):
            tensors[f"{name}.{part}"] = torch.randn(channels, generator=draws)
        tensors[f"{name}.running_var"] = torch.rand(channels, generator=draws) + 0.5
        tensors[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def convolution(name, *shape):
        tensors[f"{name}.weight"] = torch.randn(shape, generator=draws) / shape[1] ** 0.5
        return shape[0]

    norm("_bn0", convolution("_conv_stem", 32, 3, 3, 3))
    c_in, number = 32, 0
    for channels, kernel, _, expansion, blocks in _stages():
        for _ in range(blocks):
            old, wide = f"_blocks.{number}", c_in * expansion
            if expansion > 1:
                norm(f"{old}._bn0", convolution(f"{old}._expand_conv", wide, c_in, 1, 1))
            norm(f"{old}._bn1", convolution(f"{old}._depthwise_conv", wide, 1, kernel, kernel))
            norm(f"{old}._bn2", convolution(f"{old}._project_conv", channels, wide, 1, 1))
            c_in, number = channels, number + 1
    norm("_bn1", convolution("_conv_head", 1280, c_in, 1, 1))
    tensors["_fc.weight"] = torch.randn(5, 1280, generator=draws) / 36
    tensors["_fc.bias"] = torch.randn(5, generator=draws)
    return tensors


def _stages():
    """Yield channels, filter size, stride, expansion and blocks of Tan & Le's table 1."""
    yield from (
        (16, 3, 1, 1, 1),
        (24, 3, 2, 6, 2),
        (40, 5, 2, 6, 2),
        (80, 3, 2, 6, 3),
        (112, 5, 1, 6, 3),
        (192, 5, 2, 6, 4),
        (320, 3, 1, 6, 1),
    )


def images_by_torch(tensors, x):
    """Return the logits of the published network, written out."""
    functional = nn.functional

    def filtered(x, weight, stride, groups=1):
        size, lacks = weight.shape[-1], []
        for side in (x.shape[3], x.shape[2]):
            lack = max(0, (-(-side // stride) - 1) * stride + size - side)
            lacks += [lack // 2, lack - lack // 2]
        return functional.conv2d(functional.pad(x, lacks), weight, None, stride, 0, 1, groups)

    def norm(x, name):
        parts = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(tensors[f"{name}.{p}"] for p in parts), eps=1e-3)

    x = functional.relu6(norm(filtered(x, tensors["_conv_stem.weight"], 2), "_bn0"))
    number = 0
    for _, _, stride, expansion, blocks in _stages():
        for block in range(blocks):
            old, y = f"_blocks.{number}", x
            if expansion > 1:
                y = functional.conv2d(y, tensors[f"{old}._expand_conv.weight"])
                y = functional.relu6(norm(y, f"{old}._bn0"))
            weight = tensors[f"{old}._depthwise_conv.weight"]
            y = filtered(y, weight, stride if block == 0 else 1, len(weight))
            y = functional.relu6(norm(y, f"{old}._bn1"))
            y = norm(
                functional.conv2d(y, tensors[f"{old}._project_conv.weight"]), f"{old}._bn2"
            )
            x, number = (y if block == 0 else x + y), number + 1
    x = functional.relu6(norm(functional.conv2d(x, tensors["_conv_head.weight"]), "_bn1"))
    return x.mean((2, 3)) @ tensors["_fc.weight"].T + tensors["_fc.bias"]


def test_image_network_computes_what_the_published_one_does():
    network = ModelSpec.model_validate("efficientnet_lite").build(Inputs((3, 40, 37)), 5).eval()
    draws = torch.Generator().manual_seed(0)
    tensors = published_images(draws)
    missing, unknown = network.load_state_dict(
        images_from_published(tensors, network), strict=False
    )
    assert not unknown
    assert all(name.endswith("rate") for name in missing)
    x = torch.randn(3, 3, 40, 37, generator=draws)
    with torch.no_grad():
        ours, theirs = network.double()(x.double()), images_by_torch(tensors, x)
    torch.testing.assert_close(ours.float(), theirs, atol=1e-3, rtol=1e-3)


def test_voice_network_computes_what_the_published_one_does():
    draws = torch.Generator().manual_seed(0)
    lstm, linear = nn.LSTM(7, 5, 2, batch_first=True), nn.Linear(5, 5)
    tensors = {f"lstm.{k}": v for k, v in lstm.state_dict().items()}
    tensors |= {f"linear.{k}": v for k, v in linear.state_dict().items()}
    spec = ModelSpec.model_validate({"kind": "voice_encoder", "width": 5, "layers": 2})
    network = spec.build(Inputs((1, 7, 11)), 5)
    voices = voice_from_published(tensors)
    identity = {"head.weight": torch.eye(5) / 5**0.5, "head.bias": torch.zeros(5)}
    network.load_state_dict(voices | identity)
    power = torch.rand(3, 1, 7, 11, generator=draws) * 3
    x = power.log()
    x[1, :, :, 6:] = 0  # a recording that ends earlier
    with torch.no_grad():
        ours = network(x)
        for row, length in enumerate((11, 6, 11)):
            _, (state, _) = lstm(power[row, 0, :, :length].T[None])
            theirs = linear(state[-1]).relu()[0]
            torch.testing.assert_close(ours[row], theirs / theirs.norm(), atol=1e-6, rtol=1e-4)


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
