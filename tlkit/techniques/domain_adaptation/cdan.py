"""CDAN: a discriminator that also sees the predictions, so that it aligns class with class.

Long et al. 2018, "Conditional Adversarial Domain Adaptation".
"""

from typing import Any

from keras import ops

from tlkit.techniques.domain_adaptation.alignment import Domain
from tlkit.techniques.domain_adaptation.dann import Adversary, reverse_gradient
from tlkit.techniques.domain_adaptation.entropy import entropy

LARGEST_MAP = 4096  # beyond this width, random features replace the outer product, as in the paper


class CDAN(Adversary):
    """Conditional adversarial network: the discriminator sees features times class probabilities.

    Args:
        weight, rise, hidden: see `Adversary`.
        entropy: weight each example by the certainty of its prediction (CDAN+E).
    """

    def __init__(self, weight: float = 0.3, *args: Any, entropy: bool = False, **options: Any) -> None:
        super().__init__(weight, *args, **options)
        self.entropy = entropy

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        weights = (certainty(source), certainty(target)) if self.entropy else None
        inputs = [reverse_gradient(self.conditioned(domain), strength) for domain in (source, target)]
        return self.discriminate(inputs[0], inputs[1], weights)

    def conditioned(self, domain: Domain) -> Any:
        """Return the input of the discriminator: `multilinear_map`, or random features that estimate it."""
        probabilities = ops.stop_gradient(domain.probabilities)
        if not hasattr(self, "from_features"):
            return multilinear_map(domain.features, probabilities)
        of_features = ops.matmul(domain.features, self.from_features)
        return of_features * ops.matmul(probabilities, self.from_probabilities) / LARGEST_MAP**0.5

    def width(self, features: int, classes: int) -> int:
        if features * classes <= LARGEST_MAP:
            return features * classes
        self.from_features = self._random_matrix(features, "from_features")
        self.from_probabilities = self._random_matrix(classes, "from_probabilities")
        return LARGEST_MAP

    def _random_matrix(self, rows: int, name: str) -> Any:
        """Return a fixed matrix `(rows, LARGEST_MAP)` of normal numbers with a standard deviation of 1."""
        shape = (rows, LARGEST_MAP)
        matrix = self.add_weight(shape=shape, initializer="random_normal", trainable=False, name=name)
        matrix.assign(matrix / ops.std(matrix))
        return matrix


def multilinear_map(features: Any, probabilities: Any) -> Any:
    """Return the outer product of features `(n, d)` and class probabilities `(n, c)`: `(n, d * c)`.

    >>> f, p = ops.convert_to_tensor([[1.0, 2.0]]), ops.convert_to_tensor([[0.25, 0.75]])
    >>> ops.convert_to_numpy(multilinear_map(f, p)).tolist()
    [[0.25, 0.75, 0.5, 1.5]]
    """
    outer = features[:, :, None] * probabilities[:, None, :]
    return ops.reshape(outer, (-1, features.shape[-1] * probabilities.shape[-1]))


def certainty(domain: Domain) -> Any:
    """Return `1 + exp(-entropy)` of each prediction, scaled to a mean of 1, `(n,)`; no gradient passes."""
    weights = 1.0 + ops.exp(-entropy(ops.stop_gradient(domain.probabilities)))
    return weights / ops.mean(weights)
