"""Hard graphs that read sequences: attention, recurrence, embeddings, mixers."""

from __future__ import annotations

import math

import torch
from hard_graphs import HardGraph, sequences, texts
from torch import Tensor, nn
from torch.nn import functional as F

D, H, T = 16, 4, 6  # width, heads, positions


class Attention(nn.Module):
    """Self-attention in one of many ways to write it."""

    def __init__(self, way: str = "sdpa", kv: int = H) -> None:
        super().__init__()
        self.heads, self.kv, self.size, self.way = H, kv, D // H, way
        self.q = nn.Linear(D, D)
        self.k, self.v = (nn.Linear(D, kv * self.size) for _ in range(2))
        self.out = nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q = self.q(x).view(b, t, self.heads, -1).transpose(1, 2)
        k = self.k(x).view(b, t, self.kv, -1).transpose(1, 2)
        v = self.v(x).view(b, t, self.kv, -1).transpose(1, 2)
        y = getattr(self, self.way)(q, k, v)
        return self.out(y.transpose(1, 2).reshape(b, t, -1))

    def sdpa(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, scale=self.size**-0.5)

    def unpinned(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def written(self, q, k, v):
        scores = (q @ k.transpose(-2, -1)) * self.size**-0.5
        mask = torch.ones(T, T, dtype=torch.bool, device=q.device).tril()
        return scores.masked_fill(~mask, -1e9).softmax(-1) @ v

    def einsum(self, q, k, v):
        scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(self.size)
        return torch.einsum("bhqk,bhkd->bhqd", scores.softmax(-1), v)

    def repeated(self, q, k, v):
        times = self.heads // self.kv
        return self.sdpa(q, k.repeat_interleave(times, 1), v.repeat_interleave(times, 1))

    def expanded(self, q, k, v):
        times = self.heads // self.kv
        k, v = (y[:, :, None].expand(-1, -1, times, -1, -1).flatten(1, 2) for y in (k, v))
        return self.sdpa(q, k, v)

    def native(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, scale=0.5, enable_gqa=True)

    def rotary(self, q, k, v):
        angles = torch.arange(T, dtype=q.dtype)[:, None] * torch.ones(self.size // 2)
        cos, sin = torch.cat([angles, angles], -1).cos(), torch.cat([angles, angles], -1).sin()

        def turned(y):
            left, right = y.chunk(2, -1)
            return y * cos + torch.cat([-right, left], -1) * sin

        return self.sdpa(turned(q), turned(k), v)


class Fused(nn.Module):
    """Queries, keys and values by one layer, with a learned bias of each head."""

    def __init__(self, biased: bool = False) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.heads, self.biased = H, biased
        if biased:
            self.table = nn.Parameter(torch.randn(2 * T - 1, H))
            places = torch.arange(T)
            self.register_buffer("places", places[:, None] - places + T - 1)

    def forward(self, x):
        b, t, _ = x.shape
        qkv = self.qkv(x).reshape(b, t, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.table[self.places].permute(2, 0, 1)[None] if self.biased else None
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=(D // H) ** -0.5)
        return self.out(y.transpose(1, 2).reshape(b, t, -1))


class Torchs(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(D, H, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


class RootMeanSquare(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class Gated(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(D, 20), nn.Linear(D, 20), nn.Linear(20, D)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Geglu(nn.Module):
    """Both halves by one layer, parted by `chunk`."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(D, 40), nn.Linear(20, D)

    def forward(self, x):
        value, gate = self.up(x).chunk(2, -1)
        return self.down(value * F.gelu(gate))


def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(D, 24), nn.GELU(), nn.Linear(24, D))


class Transformer(nn.Module):
    def __init__(self, attention=None, norm=nn.LayerNorm, mlp=plain, token=False, scale=False):
        super().__init__()
        self.embed = nn.Linear(5, D)
        self.places = nn.Parameter(torch.randn(1, T + token, D) * 0.1)
        self.token = nn.Parameter(torch.randn(1, 1, D)) if token else None
        self.scale = nn.Parameter(torch.full((D,), 0.1)) if scale else None
        self.norm1, self.attention = norm(D), attention or Attention()
        self.norm2, self.mlp, self.norm3 = norm(D), mlp(), norm(D)
        self.head = nn.Linear(D, 4)

    def forward(self, x):
        x = self.embed(x)
        if self.token is not None:
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        x = x + self.places
        y = self.attention(self.norm1(x))
        x = x + (y if self.scale is None else self.scale * y)
        x = self.norm3(x + self.mlp(self.norm2(x)))
        return self.head(x[:, 0] if self.token is not None else x.mean(1))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(D, H, 24, batch_first=True, dropout=0.0)
        self.embed, self.encoder = nn.Linear(5, D), nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(D, 4)

    def forward(self, x):
        return self.head(self.encoder(self.embed(x)).mean(1))


class Crossed(nn.Module):
    """Queries from one input, keys and values from another."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(5, D), nn.Linear(7, 12)
        self.q, self.k, self.v = nn.Linear(D, 20), nn.Linear(12, 20), nn.Linear(12, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x, y):
        x, y = F.relu(self.left(x)), F.relu(self.right(y))
        q, k, v = self.q(x), self.k(y), self.v(y)
        weights = torch.softmax(torch.bmm(q, k.transpose(1, 2)) * 0.2, -1)
        return self.head(torch.bmm(weights, v).mean(1))


class Patches(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, D, 4, 4)
        self.norm, self.attention = nn.LayerNorm(D), Fused()
        self.head = nn.Linear(D, 4)

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        return self.head((x + self.attention(self.norm(x))).mean(1))


class Mixer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.norm = nn.Linear(5, D), nn.LayerNorm(D)
        self.across = nn.Sequential(nn.Linear(T, 9), nn.GELU(), nn.Linear(9, T))
        self.within, self.head = plain(), nn.Linear(D, 4)

    def forward(self, x):
        x = self.embed(x)
        x = x + self.across(self.norm(x).transpose(1, 2)).transpose(1, 2)
        return self.head((x + self.within(x)).mean(1))


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.route = nn.Linear(5, D), nn.Linear(D, 3)
        self.experts = nn.ModuleList(plain() for _ in range(3))
        self.head = nn.Linear(D, 4)

    def forward(self, x):
        x = self.embed(x)
        weights = self.route(x).softmax(-1)
        y = sum(weights[..., i : i + 1] * e(x) for i, e in enumerate(self.experts))
        return self.head((x + y).mean(1))


class Recurrent(nn.Module):
    def __init__(self, kind="GRU", layers=1, both_ways=False, **more):
        super().__init__()
        self.embed = nn.Linear(5, 7)
        cell = getattr(nn, kind)
        self.cells = cell(7, 10, layers, batch_first=True, bidirectional=both_ways, **more)
        width = more.get("proj_size", 10) * (1 + both_ways)
        self.hidden, self.head = nn.Linear(width, 9), nn.Linear(9, 4)

    def forward(self, x):
        return self.head(F.relu(self.hidden(self.cells(self.embed(x))[0][:, -1])))


class Stepped(nn.Module):
    """A loop over positions with the size of the state written into the code."""

    def __init__(self, kind="GRUCell"):
        super().__init__()
        self.embed, self.cell = nn.Linear(5, 7), getattr(nn, kind)(7, 10)
        self.head = nn.Linear(10, 4)

    def forward(self, x):
        x = self.embed(x)
        state = x.new_zeros(x.shape[0], 10)
        for t in range(T):
            state = self.cell(x[:, t], state)
        return self.head(state)


class SteppedOnce(Stepped):
    """The same with a batch size that the exporter takes for a constant."""

    def forward(self, x):
        x = self.embed(x)
        state = x.new_zeros(len(x), 10)
        for t in range(T):
            state = self.cell(x[:, t], state)
        return self.head(state)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.norm, self.mlp = nn.Embedding(11, D), nn.LayerNorm(D), plain()
        self.head = nn.Linear(D, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x):
        x = self.embed(x)
        return self.head(x + self.mlp(self.norm(x)))


class TiedByCall(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.mlp = nn.Embedding(11, D), plain()

    def forward(self, x):
        x = self.embed(x)
        return F.linear(x + self.mlp(x), self.embed.weight)


class Factors(nn.Module):
    """Bare parameters in matrix products, einsum and a bilinear form."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(5, 8)), nn.Parameter(torch.randn(8, 9))
        self.bias = nn.Parameter(torch.randn(9))
        self.c = nn.Parameter(torch.randn(9, 3, 6))
        self.pair = nn.Bilinear(8, 18, 7)
        self.head = nn.Linear(7, 4)

    def forward(self, x):
        x = torch.relu(x.mean(1) @ self.a)
        y = torch.tanh(torch.addmm(self.bias, x, self.b))
        y = torch.einsum("bi,ijk->bjk", y, self.c).flatten(1)
        return self.head(torch.relu(self.pair(x, y)))


class TalkingHeads(nn.Module):
    """Scores mixed across heads by a linear layer."""

    def __init__(self):
        super().__init__()
        self.qkv, self.mix, self.out = nn.Linear(D, 3 * D), nn.Linear(H, H), nn.Linear(D, D)

    def forward(self, x):
        b, t, _ = x.shape
        q, k, v = (y.view(b, t, H, -1).transpose(1, 2) for y in self.qkv(x).chunk(3, -1))
        scores = self.mix((q @ k.transpose(2, 3)).movedim(1, -1)).movedim(-1, 1)
        y = scores.softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(b, t, -1))


def two_sequences(batch: int) -> tuple[Tensor, ...]:
    return (*sequences(batch), torch.randn(batch, 4, 7))


def pictures(batch: int) -> tuple[Tensor, ...]:
    return (torch.randn(batch, 3, 8, 8),)


def graph(name, build, units, declines=(), rewritten=False, inputs=sequences):
    return HardGraph(name, build, inputs, units, declines, rewritten)


def attending(way, kv=H):
    return lambda: Transformer(Attention(way, kv))


SEQUENCES = [
    graph("attention by one call", attending("sdpa"), 44),
    graph("attention with the scale left open", attending("unpinned"), 44),
    graph("attention written out with a mask", attending("written"), 44),
    graph("attention by einsum", attending("einsum"), 44),
    graph("rotary positions", attending("rotary"), 44),
    graph("shared keys, repeated", attending("repeated", 2), 42),
    graph("shared keys, expanded", attending("expanded", 2), 42),
    graph("shared keys, by one call", attending("native", 2), 42),
    graph("fused queries, keys and values", lambda: Transformer(Fused()), 44),
    graph("bias of relative positions", lambda: Transformer(Fused(biased=True)), 44),
    graph("heads mixed by a layer", lambda: Transformer(TalkingHeads()), 48, rewritten=True),
    graph("token of its own", lambda: Transformer(token=True), 44),
    graph("scaled branch", lambda: Transformer(scale=True), 44),
    graph("root mean square norm", lambda: Transformer(norm=nn.RMSNorm), 44),
    graph(
        "norm written out, gated layer, shared keys",
        lambda: Transformer(Attention("expanded", 2), RootMeanSquare, Gated),
        38,
    ),
    graph("gate by chunk", lambda: Transformer(mlp=Geglu), 40),
    graph("torch's attention", lambda: Transformer(Torchs()), 44, rewritten=True),
    graph("torch's encoder", Encoder, 72, rewritten=True),
    graph("attention across inputs", Crossed, 56, inputs=two_sequences),
    graph("patches of an image", Patches, 20, inputs=pictures),
    graph("mixer", Mixer, 49),
    graph("weighed experts", Experts, 88),
    graph("GRU", Recurrent, 26),
    graph("GRU of two layers, both ways", lambda: Recurrent("GRU", 2, both_ways=True), 26),
    graph("LSTM", lambda: Recurrent("LSTM"), 26),
    graph("LSTM of two layers", lambda: Recurrent("LSTM", 2), 26),
    graph("LSTM with projection", lambda: Recurrent("LSTM", proj_size=6), 9, ("lstm",)),
    graph("plain recurrence", lambda: Recurrent("RNN"), 26),
    graph("GRU cell in a loop", Stepped, 17, rewritten=True),
    graph("GRU cell in a loop over one batch size", SteppedOnce, 7, ("trial",)),
    graph("embedding tied to the head", Tied, 40, inputs=texts),
    graph("embedding used twice", TiedByCall, 40, inputs=texts),
    graph("bare parameters", Factors, 24),
]
