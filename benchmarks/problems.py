"""Problems that are timed: networks and data of given sizes, as the trainer takes them."""

from dataclasses import dataclass

import torch

from modelscale.data.examples import TensorExamples
from modelscale.data.prepared import Prepared
from modelscale.data.preprocessing import Preprocessing
from modelscale.losses.cross_entropy import CrossEntropy
from modelscale.models.base import ModelSpec
from modelscale.models.cnn import Cnn
from modelscale.models.ft_transformer import FtTransformer
from modelscale.models.mlp import Mlp
from modelscale.optimizers.adam import Adam
from modelscale.optimizers.schedules.constant import Constant
from modelscale.seeds import derive
from modelscale.tensors import Inputs
from modelscale.training.plan import Regularization, TrainPlan
from modelscale.training.replica import Replica
from modelscale.training.scoring import Monitor

FOREVER = 1_000_000
LOSS = Monitor("loss", maximize=False)


@dataclass(frozen=True)
class Problem:
    """A network and the size of its data.

    Attributes:
        name: In the table.
        model: The network.
        shape: Of one example.
        classes: Of the target.
        batch: Examples of a step.
        steps: Steps of an epoch, the unit that is timed.
    """

    name: str
    model: ModelSpec
    shape: tuple[int, ...]
    classes: int
    batch: int
    steps: int

    def data(self) -> Prepared:
        """Return random examples whose class is a linear rule; all of them are trained on."""
        generator = torch.Generator().manual_seed(0)
        count = self.batch * self.steps
        x_N = torch.randn(count, *self.shape, generator=generator)
        rule_DC = torch.randn(x_N[0].numel(), self.classes, generator=generator)
        none = torch.arange(0)
        return Prepared(
            task="classification",
            inputs=Inputs(self.shape),
            targets=self.classes,
            x=TensorExamples(x_N),
            y=(x_N.flatten(1) @ rule_DC).argmax(dim=1),
            rows={"train": torch.arange(count), "validation": none, "test": none},
            preprocessing=Preprocessing.model_construct(),
            fingerprint="random",
        )

    def replicas(self, count: int, epochs: int = FOREVER) -> list[Replica]:
        """Return replicas that differ in seed and learning rate."""
        data = self.data()
        return [
            Replica(
                model=self.model,
                loss=CrossEntropy(),
                optimizer=Adam(lr=1e-3 * (1 + k / count)),
                scheduler=Constant(),
                regularization=Regularization(),
                plan=TrainPlan(epochs=epochs, batch_size=self.batch),
                seed=k,
                data=data,
            )
            for k in range(count)
        ]


SMALL = Problem("mlp 30-64-64-2, batch 32", Mlp(hidden=(64, 64)), (30,), 2, 32, 64)
MIDDLE = Problem("mlp 64-128-128-10, batch 64", Mlp(hidden=(128, 128)), (64,), 10, 64, 32)
LARGE = Problem("mlp 64-256-256-10, batch 128", Mlp(hidden=(256, 256)), (64,), 10, 128, 16)
CONVOLUTION = Problem(
    "cnn 8×8, channels 8-16, batch 64", Cnn(channels=(8, 16)), (1, 8, 8), 10, 64, 16
)
TRANSFORMER = Problem(
    "ft_transformer 13, width 32, batch 32",
    FtTransformer(width=32, blocks=2, heads=4, dropout=0.0),
    (13,),
    3,
    32,
    8,
)


def order(replica: Replica, epoch: int) -> torch.Tensor:
    """Return the rows of an epoch in the order in which the trainer takes them."""
    generator = torch.Generator().manual_seed(derive(replica.seed, "order", epoch))
    return replica.rows[torch.randperm(len(replica.rows), generator=generator)]
