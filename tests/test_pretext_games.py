"""Games of images and series that a network learns from without labels."""

from dataclasses import replace

import pytest
import torch
from torch.func import functional_call, stack_module_state, vmap
from training_data import classes, replica, trained

from modelscale.losses.base import LossSpec
from modelscale.losses.modules.contrast import GROUP, Contrast
from modelscale.models.base import ModelSpec
from modelscale.models.modules.noise import count_noise, playing, uniform
from modelscale.tensors import Inputs
from modelscale.training.cohort import build_network

CNN = {"kind": "cnn", "channels": (4, 6)}
TEMPORAL = {"kind": "temporal_cnn", "width": 8, "blocks": 1, "dropout": 0.0}
IMAGE, SERIES = Inputs((1, 8, 8)), Inputs((3, 20))


def played(loss, model, inputs, seed=0):
    torch.manual_seed(seed)
    spec = LossSpec.model_validate(loss)
    many = int(torch.tensor(inputs.shape).prod())
    network = ModelSpec.model_validate(model).build(inputs, spec.outputs(many))
    return spec.pretext(network, inputs, uniform)


def examples(inputs, *leading):
    x = torch.randn(*leading, *inputs.shape, generator=torch.Generator().manual_seed(1))
    if len(inputs.shape) == 3:
        return x
    length = torch.arange(leading[-1])[:, None, None] % 15 + 6
    there = (torch.arange(inputs.shape[1]) < length).float().expand(*leading, 1, -1)
    return torch.cat([x[..., :-1, :] * there, there], dim=-2)


GAMES = [
    pytest.param("contrast", CNN, IMAGE, id="contrast-images"),
    pytest.param("contrast", TEMPORAL, SERIES, id="contrast-series"),
    pytest.param("masked_values", TEMPORAL, SERIES, id="masked-series"),
]
every_game = pytest.mark.parametrize(("loss", "model", "inputs"), GAMES)


@every_game
def test_replica_among_others_plays_as_alone(loss, model, inputs):
    games = [played(loss, model, inputs, seed) for seed in range(3)]
    params, buffers = stack_module_state(games)
    x = examples(inputs, 3, 6)
    noise = torch.rand(3, count_noise(games[0], x[0]), generator=torch.Generator())

    def forward(params, buffers, x, noise):
        with playing(noise):
            return functional_call(games[0], (params, buffers), (x,))

    lifted = vmap(forward, randomness="error")(params, buffers, x, noise)
    for k, game in enumerate(games):
        with playing(noise[k]):
            torch.testing.assert_close(lifted[k], game(x[k]), atol=1e-5, rtol=1e-5)


@every_game
def test_evaluation_is_the_same_every_time_and_for_whole_groups(loss, model, inputs):
    game, x = played(loss, model, inputs).eval(), examples(inputs, 2 * GROUP)
    whole = game(x)
    assert whole.shape == (2 * GROUP, 1)
    assert torch.equal(whole, game(x))
    parts = torch.cat([game(x[:GROUP]), game(x[GROUP:])])
    torch.testing.assert_close(whole, parts, atol=1e-5, rtol=1e-4)


def test_nats_are_those_of_the_second_view_among_all_others():
    class Flat(torch.nn.Module):
        def forward(self, x):
            return x.flatten(1)

    game, x = Contrast(Flat(), uniform, 0.3, 0.5, flip=True), examples(IMAGE, 5)
    noise = torch.rand(count_noise(game, x))
    with playing(noise):
        found = game(x)
    numbers = noise.view(5, -1).split(7, dim=1)
    views = [game._changed_image(x, part).flatten(1) for part in numbers]
    z = torch.nn.functional.normalize(torch.cat(views), dim=1)
    for i in range(5):
        nats = []
        for one, two in ((i, i + 5), (i + 5, i)):
            others = [j for j in range(10) if j != one]
            scores = torch.stack([z[one] @ z[j] for j in others]) / 0.3
            nats.append(scores.logsumexp(0) - z[one] @ z[two] / 0.3)
        assert found[i].item() == pytest.approx(sum(nats).item() / 2, rel=1e-4)


def test_weak_views_are_nearly_the_image_itself():
    game, x = Contrast(torch.nn.Identity(), uniform, 1.0, 1e-6, flip=False), examples(IMAGE, 4)
    for numbers in (torch.zeros(4, 7), torch.rand(4, 7), torch.ones(4, 7)):
        torch.testing.assert_close(game._changed_image(x, numbers), x, atol=1e-4, rtol=1e-4)


def test_views_of_series_keep_padding_and_hide_a_stretch():
    x = examples(SERIES, 30)
    game = Contrast(torch.nn.Identity(), uniform, 1.0, 0.5, flip=False)
    seen = game._changed_series(x, 0)
    assert torch.equal(seen[:, -1], x[:, -1])
    assert (seen[:, :-1][(x[:, -1:] == 0).expand(-1, 2, -1)] == 0).all()
    hidden = ((seen[:, :-1] == 0).all(1) & (x[:, -1] == 1)).sum(1)
    assert 0 < hidden.float().mean() <= 5  # a quarter of 20 steps, some of them padding


def test_network_that_knows_a_series_has_no_loss_and_hidden_steps_are_not_shown():
    x, shown = examples(SERIES, 6), []

    class Oracle(torch.nn.Module):
        def forward(self, seen):
            shown.append(seen)
            return x.flatten(1)

    spec = LossSpec.model_validate({"kind": "masked_values", "rate": 0.5})
    assert spec.pretext(Oracle(), SERIES, uniform)(x).max() == 0
    hidden = (shown[0] == 0).all(1, keepdim=True) | (shown[0] != x).any(1, keepdim=True)
    assert torch.equal(shown[0][:, -1], x[:, -1])
    assert hidden.any()
    assert (shown[0][:, :-1] == 0)[(shown[0] != x)[:, :-1]].all()


@pytest.mark.parametrize("shape", [(6,), (4, 3, 8, 8)])
def test_contrast_is_for_images_and_series(shape):
    loss = LossSpec.model_validate("contrast")
    with pytest.raises(ValueError, match="contrast is for images and series"):
        loss.pretext(torch.nn.Identity(), Inputs(shape), uniform)


def test_contrast_learns_to_tell_images_apart():
    base = classes((1, 8, 8))
    data = replace(base, task="pretraining", y=torch.zeros(len(base.y), 1), targets=64)
    one = replica(data, CNN, {"kind": "adam", "lr": 0.01}, loss="contrast", epochs=8)
    (outcome,) = trained(one).outcomes.values()
    before = build_network(one).eval()(data.x.take(data.rows["validation"])).mean().item()
    assert outcome.progress.best_values["validation/loss"] < 0.95 * before


def test_views_of_images_are_those_of_torchs_affine_grid():
    x = examples(IMAGE, 6)
    game = Contrast(torch.nn.Identity(), uniform, 1.0, 0.8, flip=False)
    numbers = torch.rand(6, 7, generator=torch.Generator().manual_seed(2))
    numbers[:, 5:] = 0.5  # no shade
    zoom, right, down, turn = (2 * numbers[:, :4] - 1).unbind(1)
    side = 1 - 0.8 * 0.6 * (zoom + 1) / 2
    angle = 0.8 * turn * torch.pi / 6
    row_1 = torch.stack([side * angle.cos(), -side * angle.sin(), right * (1 - side)], 1)
    row_2 = torch.stack([side * angle.sin(), side * angle.cos(), down * (1 - side)], 1)
    grid = torch.nn.functional.affine_grid(
        torch.stack([row_1, row_2], 1), list(x.shape), align_corners=False
    )
    wanted = torch.nn.functional.grid_sample(
        x, grid, padding_mode="border", align_corners=False
    )
    torch.testing.assert_close(game._changed_image(x, numbers), wanted, atol=1e-5, rtol=1e-4)
