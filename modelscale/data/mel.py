"""Log-mel spectra as plain tensor operations, which every exporter understands."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch  # noqa: TID253  # loaded by `Preprocessing.module` alone
from torch import Tensor, nn  # noqa: TID253
from torch.nn import functional as F  # noqa: TID253

if TYPE_CHECKING:
    from modelscale.data.preprocessing import Preprocessing
    from modelscale.data.spectra import Spectra

_LINEAR_HZ, _LINEAR_MEL = 1000.0, 15.0  # Slaney's scale: even up to here
_SILENCE = 1e-10  # mean power below which nothing is raised any further
_LOG_STEP = math.log(6.4) / 27.0


class MelInputs(nn.Module):
    """Rows of samples, NaN behind the end, to scaled log-mel spectra (1, bands, frames).

    Frames behind a recording's end are exactly 0 in all bands: this is how networks know them.
    """

    kernel: Tensor
    filters_BF: Tensor
    mean_B1: Tensor
    scale_B1: Tensor
    end_T: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        spectra, channels = preprocessing.spectra, preprocessing.channels
        assert spectra is not None
        (samples,) = preprocessing.shape
        self.step, self.floor = spectra.step, spectra.floor
        self.remove_mean, self.raise_to_db = spectra.remove_mean, spectra.raise_to_db
        size = fourier_size(spectra)
        self.register_buffer("kernel", fourier_kernel(spectra.window, size))
        self.register_buffer("filters_BF", mel_filters(spectra).float())
        self.register_buffer("mean_B1", torch.tensor([[c.mean] for c in channels]))
        self.register_buffer("scale_B1", torch.tensor([[c.scale] for c in channels]))
        frames = spectra.frames(samples)
        # A recording has the frames that end within it, and the first one in any case.
        end_T = torch.arange(frames, dtype=torch.float32) * spectra.step + spectra.window
        end_T[0] = 0
        self.register_buffer("end_T", end_T)

    def forward(self, raw_NS: Tensor) -> Tensor:
        missing_NS = torch.isnan(raw_NS)
        length_N1 = (~missing_NS).float().sum(1, keepdim=True)
        held_N1T = (self.end_T <= length_N1).float().unsqueeze(1)
        sound_NS = torch.where(missing_NS, torch.zeros_like(raw_NS), raw_NS)
        if self.raise_to_db is not None:
            power_N1 = sound_NS.square().sum(1, keepdim=True) / length_N1.clamp(min=1)
            wanted = 10 ** (self.raise_to_db / 10)
            sound_NS = sound_NS * (wanted / power_N1.clamp(min=_SILENCE)).sqrt().clamp(min=1)
        log_NBT = self.log_mel(sound_NS)
        if self.remove_mean:
            total_NB1 = (log_NBT * held_N1T).sum(2, keepdim=True)
            log_NBT = log_NBT - total_NB1 / held_N1T.sum(2, keepdim=True)
        scaled_NBT = (log_NBT - self.mean_B1) / self.scale_B1
        return (scaled_NBT * held_N1T).unsqueeze(1)

    def log_mel(self, samples_NS: Tensor) -> Tensor:
        """Return natural logarithms of band energies (N, bands, frames)."""
        parts_NPT = F.conv1d(samples_NS.unsqueeze(1), self.kernel, stride=self.step)
        real_NFT, imaginary_NFT = parts_NPT.chunk(2, dim=1)
        energy_NFT = real_NFT.square() + imaginary_NFT.square()
        return (self.filters_BF @ energy_NFT).clamp(min=self.floor).log()


def fourier_size(spectra: Spectra) -> int:
    """Return the length of the Fourier transform: the next power of two, if nothing is said."""
    return spectra.fourier or int(2 ** math.ceil(math.log2(max(2, spectra.window))))


def fourier_kernel(window: int, size: int) -> Tensor:
    """Return (2 · bins, 1, window): real, then imaginary parts of a windowed transform."""
    place_W = torch.arange(window, dtype=torch.float64)
    hann_W = 0.5 - 0.5 * torch.cos(2 * math.pi * place_W / window)
    angle_FW = (
        2
        * math.pi
        / size
        * torch.outer(torch.arange(size // 2 + 1, dtype=torch.float64), place_W)
    )
    parts = torch.cat([torch.cos(angle_FW), -torch.sin(angle_FW)]) * hann_W
    return parts.float().unsqueeze(1)


def mel_filters(spectra: Spectra) -> Tensor:
    """Return (bands, bins) float64: how much each band takes of each frequency."""
    slaney = spectra.scale == "slaney"
    size = fourier_size(spectra)
    frequency_F = torch.arange(size // 2 + 1, dtype=torch.float64) * spectra.rate / size
    ends = torch.tensor([spectra.low_hz, spectra.high_hz], dtype=torch.float64)
    low, high = _mel(ends, slaney=slaney).tolist()
    corner_C = _hertz(
        torch.linspace(low, high, spectra.bands + 2, dtype=torch.float64), slaney=slaney
    )
    left_B1, centre_B1, right_B1 = (corner_C[i : i + spectra.bands, None] for i in range(3))
    up_BF = (frequency_F - left_B1) / (centre_B1 - left_B1)
    down_BF = (right_B1 - frequency_F) / (right_B1 - centre_B1)
    filters_BF = torch.minimum(up_BF, down_BF).clamp(min=0)
    return filters_BF * (2 / (right_B1 - left_B1)) if slaney else filters_BF


def _mel(hertz: Tensor, *, slaney: bool) -> Tensor:
    if not slaney:
        return 2595 * torch.log10(1 + hertz / 700)
    above = _LINEAR_MEL + torch.log(hertz.clamp(min=1) / _LINEAR_HZ) / _LOG_STEP
    return torch.where(hertz < _LINEAR_HZ, hertz * _LINEAR_MEL / _LINEAR_HZ, above)


def _hertz(mel: Tensor, *, slaney: bool) -> Tensor:
    if not slaney:
        return 700 * (10 ** (mel / 2595) - 1)
    above = _LINEAR_HZ * torch.exp(_LOG_STEP * (mel - _LINEAR_MEL))
    return torch.where(mel < _LINEAR_MEL, mel * _LINEAR_HZ / _LINEAR_MEL, above)
