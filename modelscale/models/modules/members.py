"""Several networks that share their weights: members that differ by scales of rank one.

(BatchEnsemble: Wen et al., arXiv:2002.06715; TabM: Gorishniy et al., arXiv:2410.24210.)
Inside, values are (batch, M, features), so that what works on features need not know of them.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Answer = Literal["values", "classes", "yes"]
"""What outputs are: target values, a logit for each class, or one logit of the second class."""


class MemberLinear(nn.Module):
    """A linear layer whose weights M members share; each scales its inputs and its outputs.

    What is learnt is how far the scales are from where they began, so that a decay of weights
    draws members towards each other and not towards nothing. Members have biases of their own.
    """

    signs: Tensor

    def __init__(self, layer: nn.Linear, members: int, first: bool) -> None:
        """Take over a layer's weights.

        Args:
            layer: Gives the weights that are shared.
            members: M.
            first: Whether members begin with random signs of the inputs, which is what makes
                them differ; all other scales begin at 1.
        """
        super().__init__()
        self.weight = layer.weight
        signs = torch.ones(members, layer.in_features)
        if first:
            signs = torch.randint(2, signs.shape).float() * 2 - 1
        self.register_buffer("signs", signs)
        self.scale_in = nn.Parameter(torch.zeros(members, layer.in_features))
        self.scale_out = nn.Parameter(torch.zeros(members, layer.out_features))
        self.bias: nn.Parameter | None = None
        if layer.bias is not None:
            bound = layer.in_features**-0.5
            fresh = torch.empty(members, layer.out_features).uniform_(-bound, bound)
            self.bias = nn.Parameter(fresh)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, M, out) of x: (batch, M or 1, in)."""
        x = x * (self.signs + self.scale_in)
        y = F.linear(x, self.weight) * (1 + self.scale_out)
        return y if self.bias is None else y + self.bias


class MemberHeads(nn.Module):
    """The last linear layer, of which every member has its own."""

    def __init__(self, layer: nn.Linear, members: int) -> None:
        """Make layers of the shape of one, drawn as torch draws them."""
        super().__init__()
        bound = layer.in_features**-0.5
        shape = (members, layer.out_features, layer.in_features)
        self.weight = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(shape[:2]).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, M, out) of x: (batch, M or 1, in)."""
        if x.shape[1] == 1:
            x = x.expand(-1, len(self.weight), -1)
        return torch.bmm(x.transpose(0, 1), self.weight.mT).transpose(0, 1) + self.bias


class Members(nn.Module):
    """M networks as one.

    In training it gives M answers an example, (batch · M, outputs), each of which is judged by
    itself; a mean would let members lean on each other. In evaluation it gives the logits of
    their mean probabilities, or their mean values, (batch, outputs).
    """

    def __init__(self, layers: list[nn.Module], members: int) -> None:
        """Share the linear layers of a plain stack; the last of them becomes M heads.

        Layers before the first linear one serve all members alike.
        """
        super().__init__()
        places = [k for k, layer in enumerate(layers) if isinstance(layer, nn.Linear)]
        first, last = places[0], places[-1]
        self.answer: Answer = "classes"
        self.shared = nn.Sequential(*layers[:first])
        body: list[nn.Module] = []
        for k, layer in enumerate(layers[first:], start=first):
            if not isinstance(layer, nn.Linear):
                body.append(layer)
            elif k == last:
                body.append(MemberHeads(layer, members))
            else:
                body.append(MemberLinear(layer, members, first=k == first))
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch · M, outputs) in training, (batch, outputs) in evaluation."""
        outputs: Tensor = self.body(self.shared(x).unsqueeze(1))
        return outputs.flatten(0, 1) if self.training else mean_answer(outputs, self.answer)


def mean_answer(outputs_BMO: Tensor, answer: Answer) -> Tensor:
    """Return the outputs (B, O) that stand for the mean of the members' answers.

    Logits of classes lack the constant log(M), so that members may be cut out.
    """
    if answer == "values":
        return outputs_BMO.mean(1)
    if answer == "classes":
        return outputs_BMO.log_softmax(-1).logsumexp(1)
    yes, no = F.logsigmoid(outputs_BMO), F.logsigmoid(-outputs_BMO)
    return yes.logsumexp(1) - no.logsumexp(1)


def tell_members(network: nn.Module, answer: Answer) -> nn.Module:
    """Return a network that knows what its outputs are, where it has to average them."""
    if isinstance(network, Members):
        network.answer = answer
    return network
