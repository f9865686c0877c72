"""Which examples each step sees: pure functions of (seed, epoch, position)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from modelscale.seeds import derive
from modelscale.training.candidates import Candidates
from modelscale.training.replica import Replica


class Batch(NamedTuple):
    """One micro-batch of every replica.

    Attributes:
        x_KB: (K, B, *inputs) float32.
        y_KB: (K, B) int64 or (K, B, T) float32.
        weight_KB: (K, B) weight in the mean loss, or None.
        partner_KB: Targets of the examples that were mixed in, or None.
        share_KB: (K, B) share of the first example in a mixed one, or None.
        log_q_KBC: Where items are ranked, (K, B, C) logarithm of how often each candidate is
            drawn, the chosen item first; x_KB then has a row for each: (K, B · C, D).
    """

    x_KB: Tensor
    y_KB: Tensor
    weight_KB: Tensor | None = None
    partner_KB: Tensor | None = None
    share_KB: Tensor | None = None
    log_q_KBC: Tensor | None = None


class Epoch:
    """One pass of every replica over its own rows, in its own order."""

    def __init__(
        self, replicas: list[Replica], epochs: list[int], device: torch.device
    ) -> None:
        """Draw orders and augmentations.

        Args:
            replicas: Of one structure.
            epochs: Passes that each of them has done.
            device: Where the batches go.
        """
        self.replicas, self.device = replicas, device
        first = replicas[0]
        pairs = list(zip(replicas, epochs, strict=True))
        # Trials of one search see the same examples: what they share is done once.
        self._seen = pairs[:1] if _see_alike(pairs) else pairs
        self.order_KN = (
            torch.stack([_order(r, epoch) for r, epoch in self._seen])
            .to(device)
            .expand(len(replicas), -1)
        )
        self._candidates = [Candidates(r, epoch) for r, epoch in self._seen if r.ranks]
        self._shared = all(r.data is first.data for r in replicas)
        self._mixing = any(a.mixes for a in first.augment)
        draws = sum(a.draws for a in first.augment) + self._mixing
        self.uniform_K = (
            [_uniform(r, epoch, draws).to(device) for r, epoch in self._seen] if draws else []
        )

    def batches(self, step_in_epoch: int) -> list[Batch]:
        """Return the micro-batches of one optimizer step, counted from 0."""
        size, bite = self.replicas[0].step_size, self.replicas[0].batch_size
        first = step_in_epoch * size
        rows_KS = self.order_KN[: len(self._seen), first : first + size]
        found = [
            self._compared(self._batch(rows_KB), rows_KB, step_in_epoch, micro)
            for micro, rows_KB in enumerate(rows_KS.split(bite, dim=1))
        ]
        if len(self._seen) == len(self.replicas):
            return found
        return [_for_all(batch, len(self.replicas)) for batch in found]

    def _compared(self, batch: Batch, rows_KB: Tensor, step: int, micro: int) -> Batch:
        """Put other items beside each chosen one, where items are ranked."""
        if not self._candidates:
            return batch
        pairs = [
            candidates.beside(x_B, rows, step, micro)
            for candidates, x_B, rows in zip(self._candidates, batch.x_KB, rows_KB, strict=True)
        ]
        x_KB = torch.stack([x for x, _ in pairs])
        return batch._replace(x_KB=x_KB, log_q_KBC=torch.stack([q for _, q in pairs]))

    def _batch(self, rows_KB: Tensor) -> Batch:
        x_KB, y_KB = self._take_x(rows_KB), self._take_y(rows_KB)
        weights = [r.weights for r, _ in self._seen]
        weight_KB = None
        if weights[0] is not None:
            weight_KB = torch.stack(
                [w[rows] for w, rows in zip(weights, rows_KB, strict=True) if w is not None]
            )
        if not self.uniform_K:
            return Batch(x_KB, y_KB, weight_KB)
        x_KB = self._augmented(x_KB, rows_KB)
        if not self._mixing:
            return Batch(x_KB, y_KB, weight_KB)
        uniform_KBD = self._uniform_of(rows_KB)
        partner_KB = self._partners(uniform_KBD[..., -1])
        other_KB = self._augmented(self._take_x(partner_KB), partner_KB)
        share_KB = self._share(uniform_KBD)
        share = share_KB.reshape(share_KB.shape + (1,) * (x_KB.dim() - 2))
        return Batch(
            torch.lerp(other_KB, x_KB, share),
            y_KB,
            weight_KB,
            self._take_y(partner_KB),
            share_KB,
        )

    def _take_x(self, rows_KB: Tensor) -> Tensor:
        if self._shared:
            x = self.replicas[0].data.x.take(rows_KB.reshape(-1))
            return x.view(*rows_KB.shape, *x.shape[1:])
        return torch.stack(
            [r.data.x.take(rows) for (r, _), rows in zip(self._seen, rows_KB, strict=True)]
        )

    def _take_y(self, rows_KB: Tensor) -> Tensor:
        if self._shared:
            y = self.replicas[0].data.y.index_select(0, rows_KB.reshape(-1))
            return y.view(*rows_KB.shape, *y.shape[1:])
        return torch.stack(
            [r.data.y[rows] for (r, _), rows in zip(self._seen, rows_KB, strict=True)]
        )

    def _uniform_of(self, rows_KB: Tensor) -> Tensor:
        return torch.stack(
            [uniform[rows] for uniform, rows in zip(self.uniform_K, rows_KB, strict=True)]
        )

    def _augmented(self, x_KB: Tensor, rows_KB: Tensor) -> Tensor:
        x, uniform = x_KB.flatten(0, 1), self._uniform_of(rows_KB).flatten(0, 1)
        start = 0
        for augmentation in self.replicas[0].augment:
            if not augmentation.mixes:
                x = augmentation.apply(x, uniform[:, start : start + augmentation.draws])
            start += augmentation.draws
        return x.view(x_KB.shape)

    def _share(self, uniform_KBD: Tensor) -> Tensor:
        start = 0
        for augmentation in self.replicas[0].augment:
            if augmentation.mixes:
                uniform = uniform_KBD[..., start : start + augmentation.draws].flatten(0, 1)
                return augmentation.blend(uniform).view(uniform_KBD.shape[:2])
            start += augmentation.draws
        raise AssertionError("no augmentation mixes")

    def _partners(self, uniform_KB: Tensor) -> Tensor:
        """Return the rows to mix in: any training row of the same replica."""
        count = self.order_KN.shape[1]
        places_KB = (uniform_KB * count).long().clamp_(max=count - 1)
        order_KN = self.order_KN[: len(self._seen)]
        sorted_KN = order_KN.sort(dim=1).values  # no matter the epoch's order
        return sorted_KN.gather(1, places_KB)


def _see_alike(pairs: list[tuple[Replica, int]]) -> bool:
    """Return whether all replicas see the same examples, altered alike, in the same order."""
    (first, begun), *others = pairs
    return all(
        replica.seed == first.seed
        and epoch == begun
        and replica.data is first.data
        and replica.train_rows is first.train_rows
        and replica.weights is first.weights
        for replica, epoch in others
    )


def _for_all(batch: Batch, count: int) -> Batch:
    """Return the batch of one replica (1, …) for `count` of them (K, …), in the same memory."""
    parts = {name: part for name, part in batch._asdict().items() if part is not None}
    return batch._replace(
        **{name: part.expand(count, *part.shape[1:]) for name, part in parts.items()}
    )


def _order(replica: Replica, epoch: int) -> Tensor:
    rows = replica.rows.cpu()
    if replica.optimizer.full_batch:
        return rows
    generator = torch.Generator().manual_seed(derive(replica.seed, "order", epoch))
    if replica.plan.sampling == "balanced":
        rows = _balanced(rows, replica.data.y.cpu()[rows], generator)
    return rows[torch.randperm(len(rows), generator=generator)]


def _balanced(rows: Tensor, class_N: Tensor, generator: torch.Generator) -> Tensor:
    """Return as many rows, equally many of each class, each row of a class equally often."""
    of_class = [rows[class_N == c] for c in class_N.unique().tolist()]
    wanted, more = divmod(len(rows), len(of_class))
    chosen = []
    for place, own in enumerate(of_class):
        count = wanted + (place < more)
        rounds = [
            own[torch.randperm(len(own), generator=generator)]
            for _ in range(-(-count // len(own)))
        ]
        chosen.append(torch.cat(rounds)[:count])
    return torch.cat(chosen)


def _uniform(replica: Replica, epoch: int, draws: int) -> Tensor:
    """Return (N, draws): the numbers of an example depend on (seed, epoch, row) alone."""
    generator = torch.Generator().manual_seed(derive(replica.seed, "augment", epoch))
    return torch.rand(len(replica.data.y), draws, generator=generator)


def dropout_noise(
    replicas: list[Replica], indices: list[int], counts: list[int], device: torch.device
) -> Tensor:
    """Return (K, M) uniform numbers, of each replica's seed and own index alone.

    M is the largest count; what a replica has beyond its own means nothing.

    They are multiples of 2**-16, which is fine enough for a rate and costs a third of what
    float32 numbers cost to draw.

    Args:
        replicas: Who reads them.
        indices: Micro-batches that each replica has come to.
        counts: Numbers of each replica.
        device: Where they are drawn.
    """
    alike = len({(r.seed, i, c) for r, i, c in zip(replicas, indices, counts, strict=True)})
    if alike == 1 < len(replicas):  # trials of one search, say
        return dropout_noise(replicas[:1], indices[:1], counts[:1], device).expand(
            len(replicas), -1
        )
    most = max(counts)
    words_KM = torch.empty(len(replicas), -(-most // 4), dtype=torch.int64, device=device)
    generator = torch.Generator(device)
    for words_M, replica, index, count in zip(words_KM, replicas, indices, counts, strict=True):
        generator.manual_seed(derive(replica.seed, "dropout", index))
        words_M[: -(-count // 4)].random_(-(2**63), None, generator=generator)
    noise_KM = words_KM.view(torch.int16)[:, :most].float()
    return noise_KM.mul_(2**-16).add_(0.5)
