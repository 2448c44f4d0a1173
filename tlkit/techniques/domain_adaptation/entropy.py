"""Entropy minimisation: make the predictions on the target certain, the simplest form of self-training.

Grandvalet & Bengio 2005, "Semi-supervised Learning by Entropy Minimization".
"""

from typing import Any

from keras import ops

from tlkit.techniques.domain_adaptation.alignment import Alignment, Domain

EPSILON = 1e-6


class MinimumEntropy(Alignment):
    """Minimise the mean entropy of the target predictions, so that the boundary lies in sparse regions."""

    moves_features = False

    def __init__(self, weight: float = 0.1, rise: float | None = 10.0, **options: Any) -> None:
        super().__init__(weight, rise, **options)

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        return strength * ops.mean(entropy(target.probabilities))


def entropy(probabilities: Any) -> Any:
    """Return the entropy in nats of each prediction, `(n, classes)` to `(n,)`, from 0 to log(classes).

    >>> values = entropy(ops.convert_to_tensor([[0.5, 0.5], [1.0, 0.0]]))
    >>> ops.convert_to_numpy(values).round(2).tolist()
    [0.69, 0.0]
    """
    p = ops.convert_to_tensor(probabilities)
    return -ops.sum(p * ops.log(p + EPSILON), axis=-1)
