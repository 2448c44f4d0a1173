"""JAN: make features and predictions together have the same distribution in both domains.

Long et al. 2017, "Deep Transfer Learning with Joint Adaptation Networks".
"""

from collections.abc import Sequence
from typing import Any

from keras import ops

from tlkit.techniques.domain_adaptation.alignment import Alignment, Domain
from tlkit.techniques.domain_adaptation.dan import gaussian_kernel, mean_discrepancy


class JAN(Alignment):
    """Joint adaptation network: the discrepancy of features and probabilities together. See `joint_mmd`."""

    def loss(self, source: Domain, target: Domain, strength: Any) -> Any:
        layers = [(domain.features, domain.probabilities) for domain in (source, target)]
        return strength * joint_mmd(*layers)


def joint_mmd(source: Sequence[Any], target: Sequence[Any]) -> Any:
    """Return the squared MMD of the joint distribution of several layers: the product of their kernels.

    Args:
        source, target: the outputs of the same layers, each `(n, d_i)` and `(m, d_i)`, such as features and
            class probabilities.
    """
    kernel = 1.0
    for of_source, of_target in zip(source, target, strict=True):
        kernel = kernel * gaussian_kernel(ops.concatenate([of_source, of_target]))
    return mean_discrepancy(kernel, ops.shape(source[0])[0])
