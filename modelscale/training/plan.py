"""The `train` and `regularization` sections of a spec. No torch at import."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from modelscale.spec.base import Spec
from modelscale.spec.quantities import Seconds


class Regularization(Spec):
    """Penalties that are part of the loss, on weights alone (not on biases or norm layers).

    Unlike an optimizer's decoupled `weight_decay`, their gradient passes through momentum and
    Adam's scaling. Reported losses are without them.
    """

    l1: float = Field(0.0, ge=0)
    """Adds l1 · Σ|w| to the mean loss."""

    l2: float = Field(0.0, ge=0)
    """Adds l2 · Σw² to the mean loss."""


class EarlyStopping(Spec):
    """When to stop before the last epoch."""

    patience: int = Field(10, ge=1)
    """Epochs without improvement on the validation part before training stops."""

    min_delta: float = Field(0.0, ge=0)
    """Smallest change of the monitored metric that counts as an improvement."""


Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


class TrainPlan(Spec):
    """How long and in what bites to train."""

    epochs: int = Field(20, ge=1)
    """Passes over the training part, in total."""

    batch_size: int = Field(64, ge=1)
    """Examples in a step of one replica."""

    sampling: Literal["shuffle", "balanced"] = "shuffle"
    """Which examples an epoch sees: each once, or as many but equally often of each class, rare
    ones again and again. `balanced` bends probabilities as class weights do."""

    accumulate: int = Field(1, ge=1)
    """Batches whose mean gradient makes one optimizer step."""

    clip_norm: float | None = Field(None, gt=0)
    """Longest gradient (L2 norm over all parameters) that is taken as it is."""

    ema: float | None = Field(None, gt=0, lt=1)
    """Decay per step of an exponential moving average of the weights; the average is what
    is validated and kept."""

    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    """Arithmetic of matrix products and convolutions; weights stay in fp32."""

    compile: bool = False
    """Whether the network goes through `torch.compile`."""

    mup: dict[str, PositiveInt | Widths] | None = None
    """The model's fields at the base width, `{hidden: [64]}`: with them wider layers begin and
    learn so that the learning rate that is best there is best here too (maximal update
    parametrisation, arXiv:2203.03466). For Adam, and weights that are drawn: after a cut, and
    from a checkpoint on, all layers learn at one rate."""

    early_stopping: EarlyStopping | None = None
    """Stop when the monitored metric no longer improves; needs a validation part."""

    monitor: str = "auto"
    """Metric of the validation part that decides what is best, such as `accuracy`; `auto` is
    the loss."""

    keep: Literal["best", "last"] = "best"
    """Which epoch's weights are the result; `best` needs a validation part."""

    seeds: int = Field(1, ge=1)
    """Replicas that differ in their seed alone: `seed`, `seed` + 1, …"""

    checkpoint_s: Seconds = Field(30.0, ge=0)
    """Least seconds between two checkpoints during training; 0 saves after every epoch."""

    checkpoint_steps: int | None = Field(None, ge=1)
    """Steps between two checkpoints, in place of `checkpoint_s`; may fall within an epoch."""

    cohort: Literal["auto"] | PositiveInt = "auto"
    """Replicas trained together; `auto` measures what is fastest."""
