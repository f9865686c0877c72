"""A trained network's own translations, beside what it thought of the true ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modelscale.data.pairs import letters_of
from modelscale.data.preprocessing import Preprocessing
from modelscale.data.vocabulary import FIRST
from modelscale.losses.base import LossSpec
from modelscale.losses.teacher_forcing import TeacherForcing
from modelscale.models.modules.decoding import Beam, most_probable
from modelscale.models.modules.translation import Translator


def translated(
    network: nn.Module, loss: LossSpec, preprocessing: Preprocessing, x: Tensor
) -> Tensor:
    """Return (N, 2 + L): nats and symbols foreseen, then the letters of what is written.

    The first two are of the true translation, and 0 where x holds none; letters are code
    points, 0 behind the end.

    Args:
        network: In evaluation mode.
        loss: Says how beginnings are followed.
        preprocessing: Says which symbols there are.
        x: (N, S + T) float32, pre-processed.
    """
    assert isinstance(network, Translator)
    assert isinstance(loss, TeacherForcing)
    last = preprocessing.outputs - 1
    beam = Beam(loss.beam, loss.length_penalty, last=last, forbidden=FIRST)
    source_NS = x[:, : -preprocessing.written_length]
    symbols_NT = most_probable(network, source_NS, beam)
    forced_N2 = loss.predictions(network(x).float())
    return torch.cat([forced_N2, letters_of(preprocessing, symbols_NT)], dim=1)


def joined(pieces: list[Tensor]) -> Tensor:
    """Return the answers of pieces as one tensor; shorter texts are padded."""
    widest = max(piece.shape[1] for piece in pieces)
    return torch.cat(
        [nn.functional.pad(piece, (0, widest - piece.shape[1])) for piece in pieces]
    )
