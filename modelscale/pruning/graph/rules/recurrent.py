"""Recurrent layers: hidden units with the gates that belong to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from modelscale.pruning.graph.atoms import Axes, Axis, Ids
from modelscale.pruning.graph.flow import Call, Note, Rule, Several

if TYPE_CHECKING:
    from torch.fx import Node

GATES = {"gru": 3, "lstm": 4, "rnn_tanh": 1, "rnn_relu": 1}


def layers(call: Call) -> Several | None:
    """Follow stacked and bidirectional layers, whose hidden size is one number for all."""
    flow, gates = call.flow, GATES[call.operator]
    if "params" not in call.arguments or "input" not in call.arguments:
        return None  # packed sequences
    weights: list[Node] = list(call["params"])
    directions = 2 if call["bidirectional"] else 1
    count = len(weights) // (call["num_layers"] * directions)
    size = flow.shapes[weights[1]][1]
    if flow.shapes[weights[0]][0] != gates * size or count not in {2, 4}:
        return None  # with a projection
    units = _units(call, size)
    x = call.axes("input")
    seen = x[-1]
    for layer in range(call["num_layers"]):
        for direction in range(directions):
            first = (layer * directions + direction) * count
            _cell(call, seen, units, weights[first : first + count], gates)
        seen = np.concatenate([units] * directions)
    _states(call, units)
    state: Axes = (None, None, units)
    states = (state,) * (2 if call.operator == "lstm" else 1)
    return Several(((*x[:-1], seen), *states))


def cell(call: Call) -> Axes | Several:
    """Follow one step of one layer."""
    kind = call.operator.removesuffix("_cell")
    names = [name for name in ("w_ih", "w_hh", "b_ih", "b_hh") if call.given(name)]
    weights: list[Node] = [call[name] for name in names]
    units = _units(call, call.flow.shapes[weights[1]][1])
    x = call.axes("input")
    _cell(call, x[-1], units, weights, GATES[kind])
    _states(call, units)
    state: Axes = (*x[:-1], units)
    return Several((state, state)) if kind == "lstm" else state


def _units(call: Call, size: int) -> Ids:
    units = call.flow.atoms.fresh(size)
    call.flow.kinds.append(Note(units.ravel(), "hidden"))
    return units


def _cell(call: Call, seen: Axis, units: Ids, weights: Sequence[Node], gates: int) -> None:
    flow = call.flow
    of_input, of_state = flow.axes[weights[0]], flow.axes[weights[1]]
    flow.join(seen, of_input[1], call.operator)
    flow.join(units, of_state[1], call.operator)
    flow.read(of_input[1])
    flow.read(of_state[1])
    for weight in weights:
        rows = flow.axes[weight][0]
        flow.write(rows)
        flow.join(np.concatenate([units] * gates), rows, call.operator)


def _states(call: Call, units: Ids) -> None:
    for state in call.flow.tensors(call["hx"]):
        call.flow.join(call.flow.axes[state][-1], units, call.operator)


RULES: dict[str, Rule] = {
    **dict.fromkeys(GATES, layers),
    **dict.fromkeys([f"{name}_cell" for name in GATES], cell),
}
