"""Trainings that begin with trained weights: what moves, how fast, and going on exactly."""

from dataclasses import replace

import pytest
import torch
from training_data import CPU, LOSS, classes, pairs, replica, symbols, trained

from modelscale.losses.base import LossSpec
from modelscale.losses.modules.pretext import MaskedSymbols, MaskedValues, Rotated
from modelscale.models.base import ModelSpec
from modelscale.models.edits.sparse import Sparse
from modelscale.models.modules.noise import uniform
from modelscale.tensors import Inputs
from modelscale.training import state
from modelscale.training.artifact import dump_model, load_model
from modelscale.training.cohort import build_network
from modelscale.training.depth import head_of, layers_of, matching
from modelscale.training.layout import Layout
from modelscale.training.starting import Pace, Target, Wanted, start_of
from modelscale.training.trainer import Paused, Trainer

CNN = {"kind": "cnn", "channels": (4, 6), "dropout": 0.2}
TEXT = {"kind": "text_transformer", "width": 8, "blocks": 2, "heads": 2, "dropout": 0.1}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def saved(one):
    """Return the trained model of a replica, through the files of a checkpoint."""
    done = trained(one)
    files = dump_model(one, done.outcomes[0].weights, Layout.of(build_network(one)))
    return load_model(files)


def begun(one, model, freeze="none", keeps_head=False, pace=None, edits=()):
    """Return a replica that begins with a model's weights."""
    outputs = one.loss.outputs(one.data.targets)
    target = Target(one.model, edits, one.loss, one.data.inputs, outputs)
    wanted = Wanted(freeze, keeps_head, pace or Pace())
    start = start_of(model.network, "0" * 64, target, wanted)
    return replace(one, start=start, edits=edits)


@pytest.fixture(scope="module")
def image_model():
    return saved(replica(classes((1, 8, 8)), CNN, epochs=2))


@pytest.fixture(scope="module")
def text_model():
    return saved(replica(symbols(), TEXT, epochs=2))


def moved(one):
    """Return the parameters that training changes, and the rest."""
    before = dict(build_network(one).named_parameters())
    layout, after = Layout.of(build_network(one)), trained(one).outcomes[0].weights
    tensors = load_model(dump_model(one, after, layout)).network.state_dict()
    changed = {name for name, p in before.items() if not torch.equal(tensors[name], p.detach())}
    return changed, set(before) - changed


class TestWhatIsTakenOver:
    def test_whole_weights_answer_as_the_checkpoint_did(self, image_model):
        one = begun(replica(classes((1, 8, 8)), CNN, seed=5), image_model, keeps_head=True)
        x = torch.randn(4, 1, 8, 8)
        assert torch.equal(build_network(one).eval()(x), image_model.network(x))

    def test_fresh_head_is_the_seeds_own(self, image_model):
        plain = replica(classes((1, 8, 8), labels=2), CNN, seed=5)
        one = begun(plain, image_model)
        drawn, taken = build_network(plain), build_network(one)
        fresh = one.start.fresh
        assert fresh == {"9.weight", "9.bias"}
        for name, parameter in taken.named_parameters():
            there = drawn if name in fresh else image_model.network
            assert torch.equal(parameter, there.get_parameter(name))

    def test_images_may_have_another_size(self, image_model):
        one = begun(replica(classes((1, 12, 10)), CNN), image_model)
        assert len(one.start.tensors) > 4

    def test_a_rate_of_dropout_is_a_setting(self, image_model):
        one = begun(replica(classes((1, 8, 8)), CNN | {"dropout": 0.4}), image_model)
        assert dict(build_network(one).named_buffers())["8.rate"] == pytest.approx(0.4)

    @pytest.mark.parametrize(
        ("model", "data", "told"),
        [
            ({"kind": "cnn", "channels": (4, 7)}, classes((1, 8, 8)), r"4\.weight is \(6, 4"),
            ({"kind": "mlp", "hidden": (4,)}, classes((6,)), r"1\.weight is|0\.weight is"),
            ({"kind": "cnn", "channels": (4, 6)}, classes((2, 8, 8)), r"0\.weight is \(4, 1"),
        ],
    )
    def test_misfit_says_which_weight_has_which_shape(self, image_model, model, data, told):
        with pytest.raises(ValueError, match=told):
            begun(replica(data, model), image_model)

    def test_zeros_of_a_sparse_model_stay_zeros(self, image_model):
        network = image_model.network
        weight = network.get_parameter("4.weight")
        holed = replace(image_model, network=network)
        kept = weight.detach().clone()
        with torch.no_grad():
            weight[weight.abs() < weight.abs().median()] = 0
        try:
            edits = (Sparse(tensors=("4.weight",)),)
            one = begun(replica(classes((1, 8, 8)), CNN, "adamw"), holed, edits=edits)
            layout, after = Layout.of(build_network(one)), trained(one).outcomes[0].weights
            trained_weight = layout.tensors(after.theta_KP[0])["4.weight"]
            assert torch.equal(trained_weight == 0, weight == 0)
            assert not torch.equal(trained_weight, weight)
        finally:
            with torch.no_grad():
                weight.copy_(kept)


class TestFreezing:
    def test_linear_probe_moves_the_head_alone(self, image_model):
        one = begun(replica(classes((1, 8, 8)), CNN, "adamw", epochs=3), image_model, "body")
        changed, same = moved(one)
        assert changed == {"9.weight", "9.bias"}
        assert "0.weight" in same

    def test_norms_of_frozen_layers_keep_what_they_know(self, image_model):
        one = begun(replica(classes((1, 8, 8)), CNN, epochs=2), image_model, "body")
        after = trained(one).outcomes[0].weights.buffers_K
        for name, buffer in image_model.network.named_buffers():
            if name.endswith("running_mean"):
                assert torch.equal(after[name][0], buffer)

    def test_a_number_counts_layers_from_the_input(self, text_model):
        data = symbols()
        one = begun(replica(data, TEXT), text_model, 2)
        first = {n for n in one.start.frozen if not n.startswith("body.blocks.0")}
        assert first == {"body.table.weight", "body.positions"}
        changed, same = moved(one)
        assert same == one.start.frozen
        assert "body.blocks.1.norm.weight" in changed

    def test_patterns_name_parameters(self):
        names = ("body.a.weight", "body.b.weight", "head.weight")
        assert matching(names, ("body.*",)) == {"body.a.weight", "body.b.weight"}
        with pytest.raises(ValueError, match=r"no parameter fits 'bdy\.\*'; they are"):
            matching(names, ("bdy.*",))

    def test_too_many_layers_and_nothing_left_are_told(self, text_model):
        one = replica(symbols(), TEXT)
        with pytest.raises(ValueError, match="9 layers, and it has 3 below its output"):
            begun(one, text_model, 9)
        with pytest.raises(ValueError, match="nothing would be left to train"):
            begun(one, text_model, ("*",))


class TestPace:
    def test_each_layer_below_learns_more_slowly_by_the_factor(self, text_model):
        """Under plain gradient descent a step is the gradient times the layer's own rate."""
        data = symbols()
        sgd = {"kind": "sgd", "lr": 0.01, "momentum": 0.0}
        plain = replica(
            data, TEXT | {"dropout": 0.1}, sgd, epochs=1, batch_size=64, keep="last"
        )
        steps = {}
        for decay in (1.0, 0.5):
            one = begun(plain, text_model, keeps_head=True, pace=Pace(layer_decay=decay))
            before = Layout.of(build_network(one)).flatten(build_network(one))
            layout, after = Layout.of(build_network(one)), trained(one).outcomes[0].weights
            steps[decay] = layout.tensors(after.theta_KP[0] - before)
        expected = {
            "head.weight": 1.0,
            "body.blocks.1.attention.qkv.weight": 0.5,
            "body.blocks.0.attention.qkv.weight": 0.25,
            "body.table.weight": 0.125,
        }
        for name, factor in expected.items():
            torch.testing.assert_close(
                steps[0.5][name], factor * steps[1.0][name], atol=2e-7, rtol=1e-3
            )

    def test_layers_begin_to_learn_from_the_output_down(self, text_model):
        one = replica(symbols(), TEXT, "adamw", epochs=4, keep="last")
        one = begun(one, text_model, pace=Pace(unfreeze=1))
        trainer = Trainer([one], (), LOSS, CPU)
        before = trainer.cohort.layout.tensors(trainer.cohort.weights.theta_KP[0].clone())
        learnt = []
        for event in trainer.run():
            if len(trainer.living) and event.epoch < 4:
                now = trainer.cohort.layout.tensors(trainer.cohort.weights.theta_KP[0])
                moved_now = {n for n in before if not torch.equal(before[n], now[n])}
                learnt.append({n.partition(".qkv")[0] for n in moved_now})
        assert "head.weight" in learnt[0]
        assert not any(name.startswith("body") for name in learnt[0])
        assert any(name.startswith("body.blocks.1") for name in learnt[1])
        assert not any(name.startswith("body.blocks.0") for name in learnt[1])
        assert any(name.startswith("body.blocks.0") for name in learnt[2])
        assert "body.table.weight" not in learnt[2]


PACES = [
    pytest.param("none", Pace(), id="whole"),
    pytest.param("body", Pace(), id="probe"),
    pytest.param(1, Pace(layer_decay=0.7), id="decay"),
    pytest.param("none", Pace(unfreeze=1), id="unfreeze"),
]


@pytest.mark.parametrize(("freeze", "pace"), PACES)
@pytest.mark.parametrize("form", ["image", "text"])
def test_replica_among_others_ends_as_it_would_alone(
    image_model, text_model, form, freeze, pace
):
    data, spec, model = {
        "image": (classes((1, 8, 8)), CNN, image_model),
        "text": (symbols(), TEXT, text_model),
    }[form]
    ones = [
        begun(replica(data, spec, "adamw", seed=seed, epochs=2), model, freeze, pace=pace)
        for seed in range(3)
    ]
    together = trained(*ones)
    for seed, one in enumerate(ones):
        torch.testing.assert_close(
            together.outcomes[seed].weights.theta_KP,
            trained(one).outcomes[0].weights.theta_KP,
            atol=2e-4,
            rtol=1e-3,
        )


@pytest.mark.parametrize(("freeze", "pace"), PACES)
def test_goes_on_bit_for_bit(image_model, freeze, pace):
    data = classes((1, 8, 8))
    ones = [
        begun(replica(data, CNN, "adamw", seed=s, epochs=3), image_model, freeze, pace=pace)
        for s in range(2)
    ]
    straight = trained(*ones)
    trainer = Trainer(list(ones), (), LOSS, CPU)
    for event in trainer.run(lambda step: step == 7):
        if isinstance(event, Paused):
            break
    resumed = state.restore(state.dump(trainer), list(ones), (), LOSS, CPU)
    for _ in resumed.run():
        pass
    for index, outcome in straight.outcomes.items():
        assert torch.equal(outcome.weights.theta_KP, resumed.outcomes[index].weights.theta_KP)


# Layers


@pytest.mark.parametrize("kind", ModelSpec.kinds())
def test_every_parameter_is_in_one_layer_or_the_head(kind):
    spec = ModelSpec.model_validate(kind)
    samples = {"vector": (6,), "image": (1, 32, 32), "tokens": (12,)}
    form = spec.takes[0]
    if form not in samples:
        return
    written = 5 * ("translation" in spec.tasks)
    vocabulary = 30 if form == "tokens" else None
    inputs = Inputs(samples[form], vocabulary=vocabulary, written=written)
    if kind in {"matrix_factorisation", "factorisation_machine"}:
        inputs = Inputs((2,), categories=(3, 4))
    head = head_of(lambda count: spec.build(inputs, count), 3)
    network = spec.build(inputs, 3)
    layers = layers_of(network, head)
    named = [name for layer in layers for name in layer]
    assert sorted([*named, *head]) == sorted(n for n, _ in network.named_parameters())


# Games without labels


def game(kind, network, inputs):
    loss = LossSpec.model_validate(kind)
    return loss.pretext(network, inputs, uniform)


class TestGames:
    def test_hidden_symbols_are_scored_by_the_same_rule_as_cross_entropy(self):
        torch.manual_seed(0)
        inputs = Inputs((9,), vocabulary=13)
        network = ModelSpec.model_validate(TEXT).build(inputs, 13).eval()
        played = MaskedSymbols(network, uniform, 0.3).eval()
        x = torch.randint(0, 13, (5, 9)).float()
        x[0, 4:] = 0
        number = torch.where(x > 0, played.numbers(x), 2.0)
        seen = torch.where(number < 0.27, 1.0, x)
        places = torch.arange(9).expand(5, -1)
        scores = network.symbol_scores(seen, places)
        for row in range(5):
            chosen = [t for t in range(9) if number[row, t] < 0.3][:3]
            smallest = number[row].argsort()[:3].tolist()
            chosen = [t for t in smallest if number[row, t] < 0.3]
            if not chosen:
                assert played(x)[row] == 0
                continue
            wanted = torch.nn.functional.cross_entropy(
                scores[row, chosen], x[row, chosen].long()
            )
            torch.testing.assert_close(played(x)[row, 0], wanted)

    def test_what_is_hidden_does_not_reach_the_network(self):
        seen = []

        class Spy(torch.nn.Module):
            def forward(self, x):
                seen.append(x)
                return torch.zeros(len(x), 6 + 3)

        x = torch.cat([torch.randn(200, 6), torch.randint(1, 3, (200, 1)).float()], 1)
        played = MaskedValues(Spy(), uniform, 0.4, (3,))
        nats = played(x)
        hidden = seen[0] == 0
        assert 0.35 < hidden.float().mean() < 0.45
        wanted = (x[:, :6].square() * hidden[:, :6]).sum(1)
        wanted = (wanted + torch.log(torch.tensor(3.0)) * hidden[:, 6]) / hidden.sum(1).clamp(1)
        torch.testing.assert_close(nats[:, 0], wanted)

    def test_a_network_that_knows_the_turn_has_no_loss(self):
        class Corner(torch.nn.Module):
            def forward(self, x):
                corners = (x[:, 0, 0, 0], x[:, 0, -1, 0], x[:, 0, -1, -1], x[:, 0, 0, -1])
                return 50 * torch.stack(corners, 1)

        x = torch.zeros(3, 1, 5, 5)
        x[:, 0, 0, 0] = 1
        assert Rotated(Corner(), uniform)(x).max() < 1e-6

    @pytest.mark.parametrize(
        ("kind", "data"),
        [
            ("masked_symbols", symbols()),
            ("masked_values", classes((6,))),
            ("masked_values", pairs()),
            ("rotation", classes((1, 8, 8))),
        ],
        ids=["texts", "numbers", "categories", "images"],
    )
    def test_measured_the_same_whatever_lies_beside(self, kind, data):
        models = {"masked_symbols": TEXT, "rotation": CNN}
        spec = models.get(kind, {"kind": "ft_transformer", "width": 8, "heads": 2})
        inputs = data.inputs
        outputs = {"rotation": 4}.get(kind, inputs.vocabulary or 30)
        network = ModelSpec.model_validate(spec).build(inputs, outputs)
        played = game(kind, network, inputs).eval()
        x = data.x.take(torch.arange(8))
        whole = played(x)
        assert whole.shape == (8, 1)
        parts = torch.cat([played(x[:3]), played(x[3:])])
        torch.testing.assert_close(whole, parts, atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize(
        ("kind", "shape", "told"),
        [
            ("masked_symbols", (6,), "is for texts"),
            ("masked_values", (1, 8, 8), "is for tables"),
            ("rotation", (1, 8, 6), "is for square images"),
        ],
    )
    def test_other_inputs_are_refused(self, kind, shape, told):
        with pytest.raises(ValueError, match=told):
            game(kind, torch.nn.Identity(), Inputs(shape))


@pytest.mark.parametrize("kind", ["text_transformer", "text_average"])
def test_pretrained_texts_learn_the_game_and_pass_on_their_vectors(kind):
    """Each symbol is followed by the next one, so that a hidden one can be told."""
    draws = torch.Generator().manual_seed(0)
    base = symbols(240, 8)
    x = 2 + (torch.randint(9, (240, 1), generator=draws) + torch.arange(8)) % 9
    data = replace(base, task="pretraining", targets=11, x=type(base.x)(x))
    data = replace(data, y=torch.zeros(240, 1))
    model = {"kind": kind, "width": 16} | ({"blocks": 1} if kind == "text_transformer" else {})
    one = replica(data, model, {"kind": "adam", "lr": 0.02}, loss="masked_symbols", epochs=25)
    done = trained(one, replace(one, seed=1))
    for outcome in done.outcomes.values():
        assert outcome.progress.best_values["validation/loss"] < 1.2  # of log 9 = 2.2
    files = dump_model(one, done.outcomes[0].weights.take([0]), Layout.of(build_network(one)))
    kept = load_model(files)
    after = begun(replica(symbols(length=8), model), kept)
    name = "body.table.weight" if kind == "text_transformer" else "0.table.weight"
    assert name in after.start.tensors
    assert torch.equal(
        build_network(after).get_parameter(name), kept.network.get_parameter(f"network.{name}")
    )
