"""Numbers of tables as vectors: reference formulas, cohorts, folds and checkpoints."""

import json

import numpy as np
import pytest
import torch
from command_line import cli
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call, stack_module_state, vmap

from modelscale.models.base import ModelSpec
from modelscale.models.modules.numbers import Bins
from modelscale.tensors import Inputs

EDGES = ((-1.0, -0.5, 0.5, 2.0), (0.0, 0.0, 1.0, 1.0))  # the second is 0 or 1 in most rows
INPUTS = Inputs((4,), quantiles=EDGES)
KINDS = (
    {"kind": "linear", "size": 3},
    {"kind": "piecewise_linear", "bins": 3},
    {"kind": "piecewise_linear", "bins": 3, "size": 2},
    {"kind": "periodic", "frequencies": 4, "size": 3},
)


def spec_of(numeric, **fields):
    return ModelSpec.model_validate(
        {"kind": "mlp", "hidden": [5], "numeric": numeric, **fields}
    )


@given(st.lists(st.floats(-4, 4, width=32), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_bins_follow_the_formula_of_the_paper(values):
    """e_t is 0 before bin t, 1 behind it and a share within; the outer bins have no end."""
    edges = EDGES[0]
    found = Bins((edges,))(torch.tensor(values)[:, None])[:, 0]
    for value, row in zip(values, found.tolist(), strict=True):
        for t in range(3):
            share = (value - edges[t]) / (edges[t + 1] - edges[t])
            low = share if t == 0 else max(share, 0.0)
            expected = low if t == 2 else min(low, 1.0)
            assert row[t] == pytest.approx(expected, abs=1e-5)


def test_bins_without_width_are_steps():
    found = Bins((EDGES[1],))(torch.tensor([[-1.0], [0.0], [0.5], [1.0], [2.0]]))[:, 0]
    assert found[:, 0].tolist() == [0, 0, 1, 1, 1]
    torch.testing.assert_close(found[:, 1], torch.tensor([0, 0, 0.5, 1, 1]))
    assert found[:, 2].tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("numeric", KINDS, ids=str)
def test_other_columns_pass_by_and_replicas_equal_their_solo_twins(numeric):
    spec = spec_of(numeric)
    spec.check(INPUTS)
    torch.manual_seed(0)
    networks = [spec.build(INPUTS, 2).eval() for _ in range(3)]
    x = torch.randn(7, 4)
    assert torch.equal(networks[0][0](x)[:, -2:], x[:, 2:])
    params, buffers = stack_module_state(networks)

    def one(params, buffers):
        return functional_call(networks[0], (params, buffers), (x,))

    together = vmap(one)(params, buffers)
    for k, network in enumerate(networks):
        torch.testing.assert_close(together[k], network(x), atol=1e-6, rtol=1e-5)


def test_written_form_keeps_every_field():
    spec = spec_of({"kind": "piecewise_linear", "bins": 5, "size": 3})
    assert spec.model_dump()["numeric"] == {"kind": "piecewise_linear", "bins": 5, "size": 3}
    assert ModelSpec.model_validate_json(spec.model_dump_json()) == spec


def test_inputs_without_numbers_are_refused():
    with pytest.raises(ValueError, match="numeric needs a table with numbers"):
        spec_of({"kind": "periodic"}).check(Inputs((3,)))


SPEC = """
version: 1
data:
  source: {{kind: csv, path: {path}, target: y}}
  split: {{kind: kfold, folds: 3, validation: 0.2, seed: 0}}
model: {{kind: mlp, hidden: [16], numeric: {{kind: piecewise_linear, bins: 6}}}}
optimizer: {{kind: adam, lr: 0.02}}
train: {{epochs: 20, batch_size: 32, keep: last, cohort: {cohort}}}
metrics: [roc_auc]
"""


def test_folds_share_a_cohort_though_their_bins_differ(tmp_path):
    rng = np.random.default_rng(0)
    a, b = rng.exponential(size=240), rng.normal(size=240)
    b[::7] = np.nan
    y = ((a > 0.3) & (a < 1)).astype(int)  # a line cannot part them, bins can
    rows = [
        f"{i:.6f},{'' if np.isnan(j) else f'{j:.6f}'},{k}"
        for i, j, k in zip(a, b, y, strict=True)
    ]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    found = {}
    for cohort in (1, 3):
        (tmp_path / "s.yaml").write_text(SPEC.format(path=tmp_path / "t.csv", cohort=cohort))
        result = cli(tmp_path, "train", "s.yaml", "--json", "-q", "--new")
        assert result.code == 0, result.err
        found[cohort] = result.document
    together = json.loads((tmp_path / found[3]["run"] / "cohorts.json").read_text())
    assert together["cohorts"] == [[0, 1, 2]]
    scores = [
        [m["metrics"]["test"]["roc_auc"]["value"] for m in found[c]["members"]] for c in (1, 3)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)
    assert min(scores[0]) > 0.85
    # The checkpoint knows its bins.
    measured = cli(tmp_path, "evaluate", found[3]["run"], "--json", "-q")
    assert measured.code == 0, measured.err
    best = found[3]["best_member"]
    then = next(m for m in found[3]["members"] if m["label"] == best)["metrics"]["test"]
    now = measured.document["metrics"]["test"]["roc_auc"]["value"]
    assert now == pytest.approx(then["roc_auc"]["value"])
