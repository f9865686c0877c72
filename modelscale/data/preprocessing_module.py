"""Pre-processing as modules of plain tensor operations, which every exporter understands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch  # noqa: TID253  # loaded by `Preprocessing.module` alone
from torch import Tensor, nn  # noqa: TID253

if TYPE_CHECKING:
    from modelscale.data.preprocessing import Preprocessing


class TableInputs(nn.Module):
    """Table rows: missing numbers filled in, numbers scaled, categories spread out."""

    median_D: Tensor
    mean_D: Tensor
    scale_D: Tensor
    indicator: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        numeric = preprocessing.numeric
        self.numbers = len(numeric)
        self.sizes = [len(c.words) + 1 for c in preprocessing.categories]
        self.onehot = preprocessing.encoding == "onehot"
        self.register_buffer("median_D", torch.tensor([c.median for c in numeric]))
        self.register_buffer("mean_D", torch.tensor([c.mean for c in numeric]))
        self.register_buffer("scale_D", torch.tensor([c.scale for c in numeric]))
        marked = [i for i, c in enumerate(numeric) if c.indicator]
        self.register_buffer("indicator", torch.tensor(marked, dtype=torch.int64))

    def forward(self, raw_ND: Tensor) -> Tensor:
        numbers_ND, codes = raw_ND[:, : self.numbers], raw_ND[:, self.numbers :]
        missing_ND = torch.isnan(numbers_ND)
        filled_ND = torch.where(missing_ND, self.median_D, numbers_ND)
        parts = [(filled_ND - self.mean_D) / self.scale_D]
        if len(self.indicator):
            parts.append(missing_ND.index_select(1, self.indicator).to(raw_ND.dtype))
        if not self.onehot:
            return torch.cat([*parts, codes], dim=1)
        for column, size in enumerate(self.sizes):
            symbols = torch.arange(size, dtype=raw_ND.dtype, device=raw_ND.device)
            parts.append((codes[:, column : column + 1] == symbols).to(raw_ND.dtype))
        return torch.cat(parts, dim=1)


class ArrayInputs(nn.Module):
    """Images and vectors: each channel, or each element of a vector, scaled."""

    mean: Tensor
    scale: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        # Broadcasts over (channels, height, width) or (D,).
        form = [-1] + [1] * (len(preprocessing.shape) - 1)
        channels, divisor = preprocessing.channels, preprocessing.divisor
        mean = torch.tensor([c.mean * divisor for c in channels])
        scale = torch.tensor([c.scale * divisor for c in channels])
        self.register_buffer("mean", mean.reshape(form))
        self.register_buffer("scale", scale.reshape(form))

    def forward(self, raw: Tensor) -> Tensor:
        return (raw - self.mean) / self.scale


class SeriesInputs(nn.Module):
    """Steps of series: missing numbers filled in, numbers scaled, padding kept at 0."""

    median_D1: Tensor
    mean_D1: Tensor
    scale_D1: Tensor
    indicator: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        numeric = preprocessing.numeric
        self.register_buffer("median_D1", torch.tensor([[c.median] for c in numeric]))
        self.register_buffer("mean_D1", torch.tensor([[c.mean] for c in numeric]))
        self.register_buffer("scale_D1", torch.tensor([[c.scale] for c in numeric]))
        marked = [i for i, c in enumerate(numeric) if c.indicator]
        self.register_buffer("indicator", torch.tensor(marked, dtype=torch.int64))

    def forward(self, raw_NDT: Tensor) -> Tensor:
        numbers_NDT, there_N1T = raw_NDT[:, :-1], raw_NDT[:, -1:]
        missing_NDT = torch.isnan(numbers_NDT)
        filled_NDT = torch.where(missing_NDT, self.median_D1, numbers_NDT)
        parts = [(filled_NDT - self.mean_D1) / self.scale_D1 * there_N1T]
        if len(self.indicator):
            marks_NDT = missing_NDT.index_select(1, self.indicator).to(raw_NDT.dtype)
            parts.append(marks_NDT * there_N1T)
        return torch.cat([*parts, there_N1T], dim=1)


class TokenInputs(nn.Module):
    """Token numbers pass as they are."""

    def forward(self, raw: Tensor) -> Tensor:
        return raw
