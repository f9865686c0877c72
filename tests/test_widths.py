"""Wide networks next to a narrow base: how they begin and learn, and the check of that."""

import math
from dataclasses import replace

import pytest
import torch
from training_data import CPU, LOSS, classes, replica, symbols, trained, windows

from modelscale.commands.scale_widths import BOUND, Change, Check
from modelscale.models.base import ModelSpec
from modelscale.training.artifact import dump_model, load_model
from modelscale.training.batches import Epoch
from modelscale.training.cohort import build_network
from modelscale.training.coordinates import changes_of
from modelscale.training.step import Stepper
from modelscale.training.trainer import Trainer
from modelscale.training.widening import factors_of

LR = 1e-2
# A model, its width at the base and at others, and data.
KINDS = {
    "mlp": ({"hidden": (16, 16)}, [(64, 64), (256, 256)], classes()),
    "mlp, layer norm": ({"hidden": (16, 16), "norm": "layer"}, [(64, 64)], classes()),
    "cnn": ({"channels": (8, 8)}, [(32, 32), (64, 64)], classes((1, 6, 6))),
    "resnet": ({"width": 4, "stages": 2}, [16, 64], classes((1, 6, 6))),
    "ft_transformer": ({"width": 16, "heads": 2, "blocks": 1}, [64, 256], classes((4,))),
    "text_transformer": ({"width": 16, "blocks": 1}, [64, 256], symbols()),
    "text_decoder": ({"width": 16, "blocks": 1}, [64, 256], windows()),
}
every_kind = pytest.mark.parametrize("name", KINDS)


def at(name, width=None, *, mup=True, seed=0, **plan):
    """Return a replica of a kind at a width, next to its base width where `mup`."""
    fields, _, data = KINDS[name]
    narrow = ModelSpec.model_validate({"kind": name.partition(",")[0], **fields})
    model = narrow if width is None else narrow.at_widths({narrow.widths[0]: width})
    made = replica(data, model, {"kind": "adam", "lr": LR}, seed=seed, **plan)
    return replace(made, narrow=narrow if mup else None)


def slopes(name, *, mup):
    """Return the slope of each layer's first changes by width, in logarithms."""
    way = "mup" if mup else "standard"
    changes = []
    for k, width in enumerate([None, *KINDS[name][1]]):
        replicas = [at(name, width, mup=mup, seed=seed) for seed in range(4)]
        found = changes_of(replicas, CPU, 4)
        changes += [Change(way, layer, 4.0**k, change) for layer, change in found.items()]
    return Check(LR, tuple(changes))


@every_kind
def test_first_changes_do_not_follow_the_width(name):
    check = slopes(name, mup=True)
    assert len(check.slopes("mup")) >= 3
    assert check.outside == {}


@every_kind
def test_under_standard_rules_they_grow_with_it(name):
    found = slopes(name, mup=False).slopes("standard")
    grown = [layer for layer, slope in found.items() if slope > 2 * BOUND]
    assert len(grown) >= 1


@every_kind
def test_at_the_base_width_training_is_the_same_to_the_bit(name):
    ways = [trained(at(name, mup=mup)).outcomes[0].weights.theta_KP for mup in (True, False)]
    assert torch.equal(*ways)


@every_kind
def test_a_replica_among_others_learns_as_it_does_alone(name):
    width = KINDS[name][1][0]
    replicas = [at(name, width, seed=seed) for seed in range(3)]
    said = []
    for trainer, k in ((trained(replicas[1]), 0), (trained(*replicas), 1)):
        weights, layout = trainer.outcomes[k].weights, trainer.cohort.layout
        model = load_model(dump_model(replicas[1], weights, layout))
        said.append(model.network(replicas[1].data.x.take(torch.arange(20))))
    assert torch.allclose(*said, atol=2e-3)


def test_factors_of_a_perceptron_are_those_of_the_table():
    made = at("mlp", (64, 256))
    network = build_network(replace(made, narrow=None))
    found = factors_of(made, network)
    table = {
        "0.weight": (1, 1),
        "0.bias": (1, 1),
        "2.weight": (1, 1 / 4),  # 64 inputs for 16; torch draws by fan-in already
        "2.bias": (2, 1),  # torch draws biases by fan-in, and they are to stay what they were
        "4.weight": (1 / 4, 1 / 16),  # outputs: 256 inputs for 16
        "4.bias": (4, 1),
    }
    assert {name: (float(f.initial), float(f.rate)) for name, f in found.items()} == table
    plain, scaled = network.state_dict(), build_network(made).state_dict()
    for name, (initial, _) in table.items():
        assert torch.allclose(scaled[name], plain[name] * initial)


def test_scaled_weights_stand_for_multipliers_of_scores_and_outputs():
    """The textbook form, with multipliers in the network, learns the same with torch's Adam."""
    fields, _, data = KINDS["text_decoder"]
    narrow = ModelSpec.model_validate({"kind": "text_decoder", **fields})
    optimizer = {"kind": "adam", "lr": LR, "eps": 1e-12}
    made = replica(data, narrow.at_widths({"width": 64}), optimizer)
    network = build_network(made)
    made = replace(made, narrow=narrow)
    attention, logits = network.body.blocks[0].attention, network.logits
    # Heads have 16 numbers for 4: the scale is 4^-1/2 at the base and goes by 1/d from there.
    attention.scale = 4**-0.5 / 4
    network.logits = lambda x: logits(x) / 4
    matrices = [p for p in network.body.blocks.parameters() if p.dim() == 2]
    chosen = {id(p) for p in matrices}
    with torch.no_grad():
        for matrix in matrices:
            matrix.mul_(0.5)  # they are drawn with one deviation at all widths
    rest = [p for p in network.parameters() if id(p) not in chosen]
    groups = [{"params": matrices, "lr": LR / 4}, {"params": rest, "lr": LR}]
    adam = torch.optim.Adam(groups, eps=1e-12)
    trainer = Trainer([made], (), LOSS, CPU)
    epoch = Epoch([made], [0], CPU)
    for step in range(3):
        report = trainer.stepper.take(epoch.batches(step), [step + 1])
        loss = network(epoch.batches(step)[0].x_KB[0]).mean()
        assert report.losses == [pytest.approx(loss.item(), rel=1e-4)]
        adam.zero_grad()
        loss.backward()
        adam.step()
    x = data.x.take(torch.arange(20))
    assert torch.allclose(trainer.cohort.network(x), network(x), atol=1e-3)


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("fused", [True, False])
def test_each_layer_moves_at_its_own_rate_and_decays_at_the_common_one(optimizer, fused):
    made = at("mlp", (64, 64))
    other = replica(made.data, made.model, {"kind": optimizer, "lr": LR})
    made = replace(other, narrow=made.narrow)
    trainer = Trainer([made], (), LOSS, CPU)
    stepper, cohort = trainer.stepper, trainer.cohort
    stepper._fused = fused
    before = cohort.weights.theta_KP.clone()
    gradient = torch.randn(before.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        stepper._update(gradient.clone(), [1])
    moved = cohort.layout.tensors((cohort.weights.theta_KP - before)[0])
    first = cohort.layout.tensors(before[0])
    sign = cohort.layout.tensors(gradient.sign()[0])
    decay = LR * getattr(made.optimizer, "weight_decay", 0.0)
    shares = {"0.weight": 1, "2.weight": 1 / 4, "4.weight": 1 / 4, "2.bias": 1}
    for name, share in shares.items():
        # Adam's first step is the learning rate, whatever the gradient's length.
        wanted = -LR * share * sign[name] - decay * first[name]
        assert torch.allclose(moved[name], wanted, atol=1e-6), name


class TestCheck:
    def test_slope_is_that_of_a_power(self):
        widths = (1.0, 3.0, 10.0)
        check = Check(
            0.1,
            tuple(Change("mup", "a", w, 0.5 * w**0.2) for w in widths)
            + tuple(Change("mup", "b", w, w**-0.7) for w in widths)
            + tuple(Change("mup", "c.scores", w, w**-0.7) for w in widths)
            + tuple(Change("mup", "d", w, math.nan) for w in widths)
            + tuple(Change("standard", "a", w, w) for w in widths),
        )
        assert check.slopes("mup")["a"] == pytest.approx(0.2)
        assert check.slopes("standard") == {"a": pytest.approx(1.0)}
        assert set(check.outside) == {"b", "d"}
        (told,) = check.warnings()
        assert "b -0.70, d +nan" in told
        assert not check.to_json()["holds"]

    def test_table_is_read_as_it_was(self):
        check = Check(3e-3, (Change("mup", "body.0", 2.5, 0.1), Change("mup", "x", 1, 1e-30)))
        assert Check.read(check.table()) == check


class TestRefusals:
    @pytest.mark.parametrize(
        ("model", "fields", "told"),
        [
            ({"kind": "linear"}, {"width": 3}, "is not defined for linear; for these it is: "),
            ({"kind": "mlp"}, {"layers": 3}, "'layers' is no width of mlp; it has: hidden"),
            ({"kind": "mlp"}, {"hidden": (3,)}, "hidden has 1 layers, and the model 2"),
            ({"kind": "text_decoder"}, {"width": 7}, "no multiple of heads"),
            ({"kind": "mlp"}, {"hidden": 3}, "tuple"),
            ({"kind": "cnn"}, {"channels": (0, 8, 8)}, "greater than or equal to 1"),
        ],
    )
    def test_widths_that_do_not_fit_are_told(self, model, fields, told):
        with pytest.raises(ValueError, match=told):
            ModelSpec.model_validate(model).at_widths(fields)

    def test_a_part_without_a_rule_is_named(self):
        made = at("mlp", (64, 64))
        model = made.model.model_copy(update={"members": 2})
        narrow = made.narrow.model_copy(update={"members": 2})
        with pytest.raises(ValueError, match=r"no rule says how .* of a MemberLinear grows"):
            build_network(replace(made, model=model, narrow=narrow))


def test_a_stepper_without_a_base_has_one_rate():
    trainer = Trainer([at("mlp", (64, 64), mup=False)], (), LOSS, CPU)
    assert isinstance(trainer.stepper, Stepper)
    assert trainer.stepper._pieces == []
