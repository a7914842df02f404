"""The same training run with our triplet loss and with pytorch-metric-learning's: is the quality equal?

Same data, network, batches, steps and seeds; only the metric term differs. Both mine semi-hard triplets with the
same margin and cosine distance and average over the triplets with a positive loss. Arguments are those of
``triune train``; ``--output`` names the folder that the runs are put into.

    python benchmarks/paired_training.py pml --data items.csv --model.pretrained false --seed 1 --output runs/pml-1
"""

import sys

from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from torch import Tensor, nn

from triune.experiment import train_and_evaluate
from triune.report.terminal import summary
from triune.run.parser import parse_train


class PeerTriplets(nn.Module):
    """pytorch-metric-learning's miner and loss as one criterion."""

    def __init__(self, margin: float) -> None:
        super().__init__()
        self.miner = TripletMarginMiner(margin=margin, type_of_triplets="semihard", distance=CosineSimilarity())
        self.loss = TripletMarginLoss(margin=margin, distance=CosineSimilarity())

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = self.loss(embeddings, labels, self.miner(embeddings, labels))
        return loss


def main() -> None:
    which, arguments = sys.argv[1], sys.argv[2:]
    config = parse_train(arguments)
    criterion = PeerTriplets(float(config.margin)) if which == "pml" else None
    run, results = train_and_evaluate(config, criterion)
    print(summary(results))
    print(run)


if __name__ == "__main__":
    main()
