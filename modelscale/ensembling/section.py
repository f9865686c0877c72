"""Sub-sections of the `ensemble` section."""

from __future__ import annotations

from pydantic import Field

from modelscale.spec.base import Spec


class Distillation(Spec):
    """One model of the spec's own kind, trained on what the ensemble answers.

    (Bucila et al., KDD 2006; Hinton et al., arXiv:1503.02531.)
    """

    share: float = Field(0.9, gt=0, le=1)
    """Share of the ensemble's answer in the target; the rest is the true target."""

    synthetic: float = Field(0.0, ge=0)
    """Further examples that the ensemble answers for, as a multiple of the training part:
    points between examples. For inputs that are not images."""

    epochs: int | None = Field(None, ge=1)
    """Passes over the training part; `train.epochs` when left out."""
