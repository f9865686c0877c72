"""Meta-learners of stacking: what combines the candidates' answers, fitted in float64.

Each is drawn by its penalty not towards zero but towards the plain mean of the candidates, so
that with few rows it becomes an average and not a constant. The strength of the penalty is
chosen by cross-validation within the out-of-fold rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from modelscale.seeds import derive

if TYPE_CHECKING:
    from torch import Tensor

STRENGTHS = (30.0, 3.0, 0.3, 0.03, 3e-3, 3e-4)
"""Penalties that are tried, the strongest first: each fit begins where the one before ended."""
_FOLDS = 5
_ITERATIONS = 300


class LinearFit(NamedTuple):
    """A linear map.

    Attributes:
        weight_AF: Weights of the features.
        bias_A: Constants.
    """

    weight_AF: Tensor
    bias_A: Tensor

    def __call__(self, x_NF: Tensor) -> Tensor:
        """Return (N, A)."""
        import torch

        return torch.as_tensor(x_NF @ self.weight_AF.T + self.bias_A)


class NetworkFit(NamedTuple):
    """A linear map and a correction by one hidden layer.

    Attributes:
        weight_AF: Weights of the features.
        inner_HF: Weights of the hidden units.
        inner_H: Their constants.
        outer_AH: Weights of the outputs.
        outer_A: Their constants.
    """

    weight_AF: Tensor
    inner_HF: Tensor
    inner_H: Tensor
    outer_AH: Tensor
    outer_A: Tensor

    def __call__(self, x_NF: Tensor) -> Tensor:
        """Return (N, A)."""
        import torch

        hidden_NH = (x_NF @ self.inner_HF.T + self.inner_H).tanh()
        outer_NA = hidden_NH @ self.outer_AH.T + self.outer_A
        return torch.as_tensor(x_NF @ self.weight_AF.T + outer_NA)


Fit = LinearFit | NetworkFit
Fitter = Callable[["Tensor", "Tensor", float, "Fit | None"], "Fit"]
"""Takes features (N, F), targets, the penalty's strength, and the fit to begin with."""


def mean_weights(candidates: int, answers: int) -> Tensor:
    """Return the weights (A, M·A) that make the mean of the candidates."""
    import torch

    return torch.eye(answers, dtype=torch.float64).repeat(1, candidates) / candidates


def logistic(
    x_NF: Tensor,
    y_N: Tensor,
    l2: float,
    prior_CF: Tensor,
    start: LinearFit | None = None,
) -> LinearFit:
    """Return the multinomial logistic regression of classes on features.

    Minimises the mean log-loss + l2/2 · ‖W - prior‖²; biases are free. With a prior of zero
    this is scikit-learn's `LogisticRegression(C=1 / (N · l2))`.

    Args:
        x_NF: Features.
        y_N: (N,) class indices.
        l2: Strength of the penalty.
        prior_CF: Weights that cost nothing; C is the number of classes.
        start: Where to begin; the prior by default.
    """
    import torch
    from torch.nn import functional as F

    x_NF, prior_CF = x_NF.double(), prior_CF.double()
    begin = start or LinearFit(prior_CF, prior_CF.new_zeros(len(prior_CF)))

    def loss(weights: list[Tensor]) -> Tensor:
        weight_CF, bias_C = weights
        fit = F.cross_entropy(x_NF @ weight_CF.T + bias_C, y_N)
        return torch.as_tensor(fit + l2 / 2 * (weight_CF - prior_CF).square().sum())

    return LinearFit(*minimum(loss, list(begin)))


def ridge(x_NF: Tensor, y_NT: Tensor, l2: float, prior_TF: Tensor) -> LinearFit:
    """Return the ridge regression of target values on features, in closed form.

    Minimises the mean squared error (summed over target values) + l2 · ‖W - prior‖²; biases
    are free. With a prior of zero this is scikit-learn's `Ridge(alpha=N · l2)`.
    """
    import torch

    x_NF, y_NT, prior_TF = x_NF.double(), y_NT.double(), prior_TF.double()
    mean_F, mean_T = x_NF.mean(dim=0), y_NT.mean(dim=0)
    centred_NF = x_NF - mean_F
    left_NT = y_NT - mean_T - centred_NF @ prior_TF.T
    gram_FF = centred_NF.T @ centred_NF
    gram_FF += len(x_NF) * l2 * torch.eye(len(gram_FF), dtype=gram_FF.dtype)
    weight_TF = prior_TF + torch.linalg.solve(gram_FF, centred_NF.T @ left_NT).T
    return LinearFit(weight_TF, mean_T - weight_TF @ mean_F)


def network(
    x_NF: Tensor,
    targets_N: Tensor,
    l2: float,
    prior_AF: Tensor,
    hidden: int,
    start: NetworkFit | None = None,
) -> NetworkFit:
    """Return a small network on features beside a linear map.

    Minimises the mean loss + l2/2 · (‖W - prior‖² + ‖weights of the hidden layer‖²).

    Args:
        x_NF: Features.
        targets_N: (N,) class indices, or (N, T) target values.
        l2: Strength of the penalty.
        prior_AF: Weights of the linear map that cost nothing.
        hidden: Units of the hidden layer.
        start: Where to begin; small random weights by default.
    """
    import torch
    from torch.nn import functional as F

    x_NF, prior_AF = x_NF.double(), prior_AF.double()
    if start is None:
        draws = torch.Generator().manual_seed(derive(0, "meta network"))
        answers, width = prior_AF.shape
        inner_HF = torch.randn(hidden, width, generator=draws, dtype=torch.float64)
        zero = x_NF.new_zeros
        start = NetworkFit(
            prior_AF,
            inner_HF / width**0.5,
            zero(hidden),
            zero(answers, hidden),
            zero(answers),
        )

    def loss(weights: list[Tensor]) -> Tensor:
        fit = NetworkFit(*weights)
        outputs_NA = fit(x_NF)
        if targets_N.is_floating_point():
            error = (outputs_NA - targets_N.double()).square().sum(dim=1).mean()
        else:
            error = F.cross_entropy(outputs_NA, targets_N)
        power = (fit.weight_AF - prior_AF).square().sum()
        power += fit.inner_HF.square().sum() + fit.outer_AH.square().sum()
        return torch.as_tensor(error + l2 / 2 * power)

    return NetworkFit(*minimum(loss, list(start)))


def minimum(loss: Callable[[list[Tensor]], Tensor], start: list[Tensor]) -> list[Tensor]:
    """Return where a smooth function has its minimum, by L-BFGS with line search."""
    import torch

    weights = [tensor.clone().requires_grad_() for tensor in start]
    search = torch.optim.LBFGS(
        weights,
        max_iter=_ITERATIONS,
        tolerance_grad=1e-7,
        tolerance_change=1e-12,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        search.zero_grad()
        with torch.enable_grad():
            value = loss(weights)
            value.backward()
        return value

    search.step(closure)
    return [weight.detach() for weight in weights]


class Chosen(NamedTuple):
    """A meta-learner whose penalty was chosen.

    Attributes:
        fit: On all rows.
        l2: Strength of its penalty.
        held_out: Answers (N, A) of cross-validation with that strength, for the same rows.
    """

    fit: Fit
    l2: float
    held_out: Tensor


def choose(
    fitter: Fitter,
    loss: Callable[[Tensor, Tensor], Tensor],
    x_NF: Tensor,
    targets_N: Tensor,
    seed: int,
) -> Chosen:
    """Fit a meta-learner with the penalty that is best in cross-validation.

    Args:
        fitter: Fits with one strength.
        loss: Mean loss of outputs (N, A) for targets.
        x_NF: Features from answers that no candidate gave for rows it learnt from.
        targets_N: (N,) class indices, or (N, T) target values.
        seed: Of the folds.
    """
    import torch

    generator = torch.Generator().manual_seed(derive(seed, "meta folds"))
    order = torch.randperm(len(x_NF), generator=generator)
    fold_N = torch.empty(len(x_NF), dtype=torch.int64)
    fold_N[order] = torch.arange(len(x_NF)) % min(_FOLDS, len(x_NF))
    answers: dict[float, list[tuple[Tensor, Tensor]]] = {l2: [] for l2 in STRENGTHS}
    for fold in fold_N.unique().tolist():
        known, held = fold_N != fold, fold_N == fold
        fit: Fit | None = None
        for l2 in STRENGTHS:
            fit = fitter(x_NF[known], targets_N[known], l2, fit)
            answers[l2].append((held, fit(x_NF[held].double())))
    out: dict[float, Tensor] = {}
    for l2, parts in answers.items():
        out[l2] = torch.cat([part for _, part in parts])
        rows = torch.cat([held.nonzero()[:, 0] for held, _ in parts])
        out[l2] = out[l2][rows.argsort()]
    best = min(STRENGTHS, key=lambda l2: float(loss(out[l2], targets_N)))
    fit = None
    for l2 in STRENGTHS[: STRENGTHS.index(best) + 1]:
        fit = fitter(x_NF, targets_N, l2, fit)
    assert fit is not None
    return Chosen(fit, best, out[best])
