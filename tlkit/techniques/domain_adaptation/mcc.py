"""MCC: no two classes may be confused with each other on the target. The default on features.

Jin et al. 2020, "Minimum Class Confusion for Versatile Domain Adaptation".
"""

from typing import Any

from keras import ops

from tlkit.techniques.domain_adaptation.alignment import Alignment, Domain
from tlkit.techniques.domain_adaptation.entropy import EPSILON, entropy


class MCC(Alignment):
    """Minimum class confusion on the target. See `class_confusion`.

    Args:
        weight, rise: see `Alignment`.
        temperature: softens the predictions; the paper's 2.5 serves all its tasks.
    """

    moves_features = False

    def __init__(
        self, weight: float = 1.0, rise: float | None = 10.0, temperature: float = 2.5, **options: Any
    ) -> None:
        super().__init__(weight, rise, **options)
        self.temperature = temperature

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        return strength * class_confusion(target.probabilities, self.temperature)


def class_confusion(probabilities: Any, temperature: float = 2.5) -> Any:
    """Return how much the classes of a batch are confused with each other, 0 to 1.

    The class correlation is `C = p' diag(w) p` of softened predictions `p`, where the weights `w` are larger
    for certain predictions. Each row is scaled to a sum of 1. The confusion is one minus the mean of the
    diagonal.

    Args:
        probabilities: `(n, classes)`.
        temperature: above 1 softens the predictions.
    """
    p = ops.softmax(ops.log(probabilities + EPSILON) / temperature)
    weights = 1.0 + ops.exp(-entropy(p))
    weights = ops.stop_gradient(weights / ops.mean(weights))
    correlation = ops.matmul(ops.transpose(p * weights[:, None]), p)
    correlation = correlation / ops.sum(correlation, axis=1, keepdims=True)
    return 1.0 - ops.mean(ops.diagonal(correlation))
