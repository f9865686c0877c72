"""Networks: what every kind keeps, on every sort of input that it takes, and each one's own."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch.func import functional_call, stack_module_state, vmap

from modelscale.losses.base import LossSpec
from modelscale.models.base import ModelSpec
from modelscale.models.modules.batch_norm import BatchNorm1d, BatchNorm2d
from modelscale.models.modules.dropout import Dropout
from modelscale.models.modules.noise import count_noise, playing, recording, uniform
from modelscale.tensors import Inputs

K, B, OUT = 3, 8, 4
SAMPLES = {
    "vector": [Inputs((6,))],
    "image": [Inputs((1, 8, 8))],
    "tokens": [Inputs((6,), vocabulary=11), Inputs((9,), vocabulary=11, written=4)],
    "series": [Inputs((4, 9))],  # three sensors, and whether a step is there
}
TABLE = Inputs((6,), categories=(3, 4))  # four numbers, then two category codes
PICTURE = Inputs((3, 64, 48))
PAIR = Inputs((2,), categories=(13, 17), of_item=(1,))  # two category codes and nothing else

# Beside every kind's defaults: the options that change which layers there are.
VARIANTS = [
    {"kind": "mlp", "norm": "batch", "dropout": 0.3},
    {"kind": "mlp", "norm": "layer", "activation": "gelu", "hidden": (16,)},
    {"kind": "mlp", "hidden": ()},
    {"kind": "temporal_cnn", "width": 8, "blocks": 2, "pooling": "max", "stride": 2},
    {"kind": "temporal_cnn", "width": 8, "blocks": 1, "pooling": "last", "dropout": 0.0},
    {"kind": "recurrent", "width": 4, "cell": "lstm", "layers": 2},
    {"kind": "recurrent", "width": 4, "bidirectional": False, "pooling": "average"},
    {"kind": "series_autoencoder", "channels": (8, 8, 8), "kernel": 3, "squeeze": 2.0},
    {"kind": "autoencoder", "hidden": (), "squeeze": 0.0},
    {"kind": "cnn", "channels": (8, 8), "depthwise_separable": True, "dropout": 0.2},
    {"kind": "cnn", "channels": (8, 8), "norm": "none", "pooling": "average", "kernel": 5},
    {"kind": "cnn", "channels": (8,) * 5, "norm": "layer"},
    {"kind": "resnet", "width": 4, "blocks": 1, "stages": 2, "depthwise_separable": True},
    {"kind": "resnet", "width": 4, "blocks": 1, "stages": 4},
    {"kind": "mobilenet", "width": 0.25, "expansion": 1},
    {"kind": "efficientnet_lite", "width": 0.25, "depth": 0.4},
    {"kind": "ft_transformer", "dropout": 0.0, "width": 8, "heads": 2, "blocks": 1},
    {"kind": "matrix_factorisation", "factors": 3, "dropout": 0.3},
    {"kind": "factorisation_machine", "factors": 3, "hidden": (16,), "dropout": 0.3},
]


def _takes(spec, inputs):
    if inputs.written and "translation" not in spec.tasks:
        return False
    try:
        spec.check(inputs)
    except ValueError:
        return False
    return True


def _cases():
    kinds = [kind for kind in ModelSpec.kinds() if kind != "efficientnet_lite"]  # 4.7 million
    for choice in [{"kind": kind} for kind in kinds] + VARIANTS:
        spec = ModelSpec.model_validate(choice)
        tables = [TABLE, PAIR] if spec.encoding == "codes" else []
        samples = [i for form in spec.takes for i in SAMPLES[form]] + tables
        if spec.own_kind() == "efficientnet_lite":
            samples = [PICTURE]  # smaller ones are a pixel after its halvings
        for inputs in filter(lambda i: _takes(spec, i), samples):
            name = "-".join(str(v).replace(" ", "") for v in choice.values())
            shape = "x".join(map(str, inputs.shape))
            suffix = "codes" if inputs.categories else "tokens" if inputs.vocabulary else ""
            yield pytest.param(spec, inputs, id=f"{name}-{shape}{suffix}")


CASES = list(_cases())
every_case = pytest.mark.parametrize(("spec", "inputs"), CASES)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Networks this small only lose by waiting for a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def examples(inputs, *leading, seed=0):
    """Return x: (*leading, *inputs.shape) that looks like such inputs."""
    g = torch.Generator().manual_seed(seed)
    shape = (*leading, *inputs.shape)
    if inputs.vocabulary is not None:
        x = torch.randint(inputs.vocabulary, shape, generator=g).float()
        x[..., x.shape[-1] - inputs.written :] %= OUT  # what is written has OUT symbols
        return x
    x = torch.randn(shape, generator=g)
    if len(inputs.shape) == 2:
        length = torch.randint(1, shape[-1] + 1, (*leading, 1, 1), generator=g)
        there = (torch.arange(shape[-1]) < length).float()
        return torch.cat([x[..., :-1, :] * there, there], dim=-2)
    for i, count in enumerate(reversed(inputs.categories), 1):
        x[..., -i] = torch.randint(count, shape[:-1], generator=g).float()
    return x


def answers(spec):
    """Return how many outputs a network of OUT asked-for ones has: scores, or all."""
    if spec.tasks == ("translation",):
        return 3
    return 2 if spec.reconstructs else OUT


def learnt(spec, outputs, targets):
    """Return the loss that a network of this kind is trained with."""
    if spec.reconstructs:
        return LossSpec.model_validate("reconstruction").mean(outputs, targets)
    if spec.tasks == ("translation",):
        return outputs[:, 0].mean()
    return torch.nn.functional.cross_entropy(outputs, targets)


def pooled(y):
    """Return outputs (…, B, OUT), the mean of frames where a network answers for each."""
    return y.mean(-2) if y.dim() == 3 else y


def built(spec, inputs, seed=0):
    torch.manual_seed(seed)
    return spec.build(inputs, OUT)


def cohort(spec, inputs):
    """Return K networks that differ in weights and in every rate that they may differ in."""
    specs = [
        spec.model_copy(
            update={f: getattr(spec, f) * (0.5 + 0.5 * k) for f in spec.per_replica}
        )
        for k in range(K)
    ]
    return [built(specs[k], inputs, seed=k) for k in range(K)]


@every_case
def test_maps_a_batch_to_outputs(spec, inputs):
    spec.check(inputs)
    network = built(spec, inputs)
    y = network(examples(inputs, B))
    frames = (inputs.shape[-1] // 2,) if spec.tasks == ("transcription",) else ()
    frames = (inputs.written,) if inputs.written else frames
    assert y.shape == (B, *frames, answers(spec))
    assert y.dtype == torch.float32


@every_case
def test_weights_come_from_the_global_seed_alone(spec, inputs):
    first, again = built(spec, inputs), built(spec, inputs)
    for (name, a), (_, b) in zip(
        first.state_dict().items(), again.state_dict().items(), strict=True
    ):
        assert torch.equal(a, b), name


@every_case
def test_replica_among_others_trains_as_alone(spec, inputs):
    networks = cohort(spec, inputs)
    params, buffers = stack_module_state(networks)
    x = examples(inputs, K, B)
    noise = torch.rand(K, count_noise(networks[0], x[0]))

    def forward(params, buffers, x, noise):
        with playing(noise):
            return functional_call(networks[0], (params, buffers), (x,))

    y = vmap(forward, randomness="error")(params, buffers, x, noise)
    y.square().flatten(1).mean(1).sum().backward()

    for k, network in enumerate(networks):
        with playing(noise[k]):
            alone = network(x[k])
        alone.square().mean().backward()
        torch.testing.assert_close(y[k], alone, atol=1e-5, rtol=1e-5)
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(
                params[name].grad[k], parameter.grad, atol=1e-5, rtol=1e-4, msg=name
            )
        for name, buffer in network.named_buffers():
            torch.testing.assert_close(buffers[name][k], buffer, atol=1e-6, rtol=1e-5)


@every_case
def test_replica_among_others_predicts_as_alone(spec, inputs):
    networks = [network.eval() for network in cohort(spec, inputs)]
    params, buffers = stack_module_state(networks)
    x = examples(inputs, B)

    def forward(params, buffers, x):
        return functional_call(networks[0], (params, buffers), (x,))

    y = vmap(forward, in_dims=(0, 0, None), randomness="error")(params, buffers, x)
    for k, network in enumerate(networks):
        torch.testing.assert_close(y[k], network(x), atol=1e-5, rtol=1e-5)


@every_case
def test_no_parameter_is_without_gradient(spec, inputs):
    # Adam would turn the rounding noise of a gradient that is truly zero into whole steps.
    network = built(spec, inputs).double()
    targets = torch.arange(B) % answers(spec)
    y = pooled(network(examples(inputs, B).double()))
    torch.nn.functional.cross_entropy(y, targets).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().max() > 1e-9, name


@every_case
def test_trains_on_a_batch_of_one(spec, inputs):
    network = built(spec, inputs)  # as when an epoch's last batch has one example left
    network(examples(inputs, 1)).square().sum().backward()
    for name, value in [*network.named_parameters(), *network.named_buffers()]:
        assert value.isfinite().all(), name
        assert value.grad is None or value.grad.isfinite().all(), name


@every_case
def test_prediction_of_an_example_does_not_depend_on_its_batch(spec, inputs):
    network, x = built(spec, inputs).eval(), examples(inputs, B)
    torch.testing.assert_close(network(x)[:2], network(x[:2]), atol=1e-5, rtol=1e-5)


@every_case
def test_state_survives_safetensors(spec, inputs, tmp_path):
    network, other = built(spec, inputs), built(spec, inputs, seed=1)
    network(examples(inputs, B))  # so that running statistics are not the initial ones
    safetensors.torch.save_file(network.state_dict(), tmp_path / "model.safetensors")
    other.load_state_dict(safetensors.torch.load_file(tmp_path / "model.safetensors"))
    x = examples(inputs, B, seed=1)
    assert torch.equal(network.eval()(x), other.eval()(x))


@every_case
def test_learns_a_small_batch(spec, inputs):
    network, x = built(spec, inputs), examples(inputs, 16)
    targets = torch.arange(16) % answers(spec)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss = learnt(spec, pooled(network(x)), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < (0.995 if spec.reconstructs else 0.95) * losses[0]  # noise has no code


@pytest.mark.slow
@every_case
def test_exports_with_any_batch_size(spec, inputs):
    network = built(spec, inputs).eval()
    batch = torch.export.Dim("batch", min=1, max=4096)
    program = torch.export.export(
        network, (examples(inputs, B),), dynamic_shapes=({0: batch},), strict=False
    )
    for size in (1, 5, 33):
        x = examples(inputs, size, seed=size)
        torch.testing.assert_close(program.module()(x), network(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ModelSpec.kinds())
def test_docs_name_every_kind_and_field(kind):
    page = (Path(__file__).parent.parent / "docs" / "models.md").read_text()
    assert f"`{kind}`" in page
    assert [f for f in ModelSpec.of_kind(kind).model_fields if f"`{f}`" not in page] == []


# What a kind cannot take


def test_error_names_the_models_that_take_such_inputs():
    with pytest.raises(ValueError, match=r"^cnn takes image inputs, not vector inputs") as e:
        ModelSpec.model_validate("cnn").check(Inputs((30,)))
    others = (
        "autoencoder, dlrm, factorisation_machine, ft_transformer, linear, "
        "matrix_factorisation, mlp, neural_factorisation, two_towers"
    )
    assert f"of shape (30,); these do: {others}" in str(e.value)


def test_numeric_networks_refuse_tokens():
    with pytest.raises(
        ValueError, match=r"linear takes vector or image or series inputs, not tokens"
    ):
        ModelSpec.model_validate("linear").check(Inputs((30,), vocabulary=5))


def test_resnet_refuses_images_that_its_stages_would_shrink_to_nothing():
    with pytest.raises(ValueError, match=r"4×4 pixels or more, .*\(1, 3, 9\); set fewer"):
        ModelSpec.model_validate("resnet").check(Inputs((1, 3, 9)))


def test_transformer_refuses_more_features_than_attention_can_hold():
    with pytest.raises(ValueError, match="at most 512 features or positions, not 784"):
        ModelSpec.model_validate("ft_transformer").check(Inputs((1, 28, 28)))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"kind": "cnn", "kernel": 4}, "kernel must be odd, got 4"),
        ({"kind": "ft_transformer", "width": 60}, "width 60 is no multiple of heads 8"),
        ({"kind": "mlp", "hidden": (8, 0)}, "greater than or equal to 1"),
        ({"kind": "mlp", "dropout": 1.0}, "less than 1"),
    ],
)
def test_impossible_fields_are_refused(choice, message):
    with pytest.raises(ValueError, match=message):
        ModelSpec.model_validate(choice)


# What each kind is


def test_linear_and_mlp_have_the_parameters_of_the_formula():
    def count(choice, inputs):
        network = ModelSpec.model_validate(choice).build(inputs, OUT)
        return sum(p.numel() for p in network.parameters())

    assert count("linear", Inputs((2, 3, 3))) == 18 * OUT + OUT
    assert count({"kind": "mlp", "hidden": (5, 7)}, Inputs((6,))) == 35 + 42 + 7 * OUT + OUT
    assert count({"kind": "mlp", "hidden": (5,), "norm": "batch"}, Inputs((6,))) == (
        30 + 10 + 5 * OUT + OUT  # no bias before the norm, which has a scale and a shift
    )


def test_depthwise_separable_cnn_has_the_parameters_of_the_formula():
    spec = ModelSpec.model_validate(
        {"kind": "cnn", "channels": (8, 16), "depthwise_separable": True, "norm": "none"}
    )
    network = spec.build(Inputs((1, 8, 8)), OUT)
    expected = (9 * 8 + 8) + 9 * 8 + (8 * 16 + 16) + (16 * OUT + OUT)
    assert sum(p.numel() for p in network.parameters()) == expected


def test_resnet_has_the_depth_of_the_paper():
    # n = 3 blocks a stage is ResNet-20, with 0.27M parameters for 32×32 images, 10 classes.
    network = ModelSpec.model_validate({"kind": "resnet", "blocks": 3}).build(
        Inputs((3, 32, 32)), 10
    )
    weights = [p for p in network.parameters() if p.dim() > 1]
    assert len([p for p in weights if p.shape[-1] != 1]) == 20  # 19 convolutions and the head
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(0.27e6, rel=0.02)


@pytest.mark.parametrize(("side", "last"), [(8, 4), (28, 7), (32, 4), (96, 6)])
def test_mobilenet_keeps_four_pixels_a_side(side, last):
    network = built(
        ModelSpec.model_validate({"kind": "mobilenet", "width": 0.25}), Inputs((1, side, side))
    )
    assert network[:-2](torch.zeros(2, 1, side, side)).shape[-2:] == (last, last)


def test_feature_tokens_are_number_times_vector_or_category_vector_plus_bias():
    spec = ModelSpec.model_validate({"kind": "ft_transformer", "width": 8, "heads": 2})
    tokens = built(spec, TABLE).tokens
    x = examples(TABLE, B)
    out = tokens(x)
    torch.testing.assert_close(out[:, 1], x[:, 1, None] * tokens.weight[1] + tokens.bias[1])
    rows = 3 + x[:, 5].long()  # the second category's codes follow the first one's three
    torch.testing.assert_close(out[:, 5], tokens.table.weight[rows] + tokens.bias[5])


def test_attention_equals_torch():
    from modelscale.models.modules.attention import SelfAttention

    torch.manual_seed(0)
    ours = SelfAttention(12, heads=3)
    theirs = torch.nn.MultiheadAttention(12, 3, bias=True, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.in_proj_bias.zero_()
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    x = torch.randn(B, 5, 12)
    torch.testing.assert_close(ours(x), theirs(x, x, x)[0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("shape", [(1, 4), (1, 4, 1, 1)])
def test_batch_norm_of_a_single_value_uses_and_keeps_the_running_statistics(shape):
    norm = BatchNorm1d(4) if len(shape) == 2 else BatchNorm2d(4)
    norm(torch.randn(9, *shape[1:], generator=torch.Generator()))
    before = {name: b.clone() for name, b in norm.named_buffers()}
    x = torch.ones(shape)
    trained = norm(x)
    assert all(torch.equal(b, before[name]) for name, b in norm.named_buffers())
    assert torch.equal(trained, norm.eval()(x))


# Dropout and the noise tape


def test_dropout_keeps_the_mean_and_drops_at_its_rate():
    torch.manual_seed(0)
    y = Dropout(0.3)(torch.ones(200_000))
    assert (y == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert y.mean().item() == pytest.approx(1.0, abs=0.01)
    assert y.max().item() == pytest.approx(1 / 0.7)


def test_dropout_does_nothing_when_predicting():
    x = torch.randn(50)
    assert torch.equal(Dropout(0.3).eval()(x), x)


def test_no_dropout_layer_without_a_rate():
    for kind in ("mlp", "cnn", "ft_transformer"):
        network = ModelSpec.model_validate({"kind": kind, "dropout": 0.0}).build(
            Inputs((1, 8, 8)), OUT
        )
        assert not any(isinstance(m, Dropout) for m in network.modules())


def test_tape_is_played_once_from_its_beginning():
    noise = torch.arange(10.0)
    with playing(noise) as tape:
        assert torch.equal(uniform((2, 2), noise), torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
        assert torch.equal(uniform((3,), noise), torch.tensor([4.0, 5.0, 6.0]))
    assert tape.taken == 7


def test_counting_changes_neither_buffers_nor_generators():
    network = built(
        ModelSpec.model_validate({"kind": "mlp", "dropout": 0.5, "norm": "batch"}), Inputs((6,))
    )
    before = {name: b.clone() for name, b in network.named_buffers()}
    state = torch.random.get_rng_state()
    assert count_noise(network, torch.randn(5, 6, generator=torch.Generator())) == 5 * 256
    assert torch.equal(torch.random.get_rng_state(), state)
    for name, buffer in network.named_buffers():
        assert torch.equal(buffer, before[name]), name


def test_tape_ends_with_its_block_even_after_an_error():
    with pytest.raises(RuntimeError, match="exceeds dimension size"), playing(torch.rand(3)):
        uniform((4,), torch.zeros(1))
    with recording() as tape:
        uniform((4,), torch.zeros(1))
    assert tape.taken == 4
    assert uniform((2,), torch.zeros(1)).shape == (2,)
