"""Training without modelscale: the loops that people write, on the trainer's own batches."""

from collections.abc import Iterator

import torch
from problems import order
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Sampler, TensorDataset

from modelscale.training.cohort import build_network
from modelscale.training.replica import Replica


class Loop:
    """A hand-written loop over tensors that are where the network is.

    Attributes:
        network: What is trained, from the weights that the trainer begins with.
    """

    def __init__(self, replica: Replica, *, fused: bool | None) -> None:
        self.replica, self.epoch = replica, 0
        self.network = build_network(replica).train()
        parameters = self.network.parameters()
        self.optimizer = torch.optim.Adam(parameters, lr=replica.optimizer.lr, fused=fused)
        self.x, self.y = replica.data.x.take(replica.rows), replica.data.y[replica.rows]

    def run(self) -> float:
        """Train one epoch; return its mean loss."""
        rows = order(self.replica, self.epoch)
        self.epoch += 1
        total = 0.0
        for batch in rows.split(self.replica.plan.batch_size):
            total += self._step(self.x.index_select(0, batch), self.y.index_select(0, batch))
        return total / len(rows)

    def _step(self, x: Tensor, y: Tensor) -> float:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.network(x), y)
        loss.backward()
        self.optimizer.step()
        return loss.item() * len(y)


class TrainerOrder(Sampler[int]):
    """The order of the trainer's epochs, one after the other."""

    def __init__(self, replica: Replica) -> None:
        self.replica, self.epoch = replica, 0

    def __iter__(self) -> Iterator[int]:
        rows = order(self.replica, self.epoch).tolist()
        self.epoch += 1
        return iter(rows)

    def __len__(self) -> int:
        return len(self.replica.rows)


class LoaderLoop(Loop):
    """The loop of most tutorials: a DataLoader over a TensorDataset."""

    def __init__(self, replica: Replica) -> None:
        super().__init__(replica, fused=None)
        self.loader = DataLoader(
            TensorDataset(self.x, self.y),
            batch_size=replica.plan.batch_size,
            sampler=TrainerOrder(replica),
        )

    def run(self) -> float:
        total = 0.0
        for x, y in self.loader:
            total += self._step(x, y)
        return total / len(self.y)


class SkorchLoop:
    """skorch's classifier with its usual callbacks but the printing one.

    Attributes:
        network: What is trained.
    """

    def __init__(self, replica: Replica) -> None:
        """Set it up.

        Raises:
            ImportError: If skorch is not installed.
        """
        from skorch import NeuralNetClassifier

        self.network = build_network(replica)
        self.x, self.y = replica.data.x.take(replica.rows), replica.data.y[replica.rows]
        self.classifier = NeuralNetClassifier(
            self.network,
            criterion=nn.CrossEntropyLoss,
            optimizer=torch.optim.Adam,
            lr=replica.optimizer.lr,
            batch_size=replica.plan.batch_size,
            max_epochs=1,
            train_split=None,
            callbacks__print_log=None,
            iterator_train__sampler=TrainerOrder(replica),
            verbose=0,
        ).initialize()
        self.network = self.classifier.module_

    def run(self) -> float:
        """Train one epoch; return its mean loss."""
        self.classifier.partial_fit(self.x, self.y)
        return float(self.classifier.history[-1]["train_loss"])
