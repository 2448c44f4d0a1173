"""AdaMatch: pseudo-labels that use the classes as often as the source does. With MCC, the default end to end.

Roelofs et al. 2022, "AdaMatch: A Unified Approach to Semi-Supervised Learning and Domain Adaptation".
"""

from typing import Any

from keras import ops

from tlkit.techniques.domain_adaptation.alignment import Domain
from tlkit.techniques.domain_adaptation.entropy import EPSILON
from tlkit.techniques.domain_adaptation.pseudo_label import PseudoLabel


class AdaMatch(PseudoLabel):
    """Self-training as by FixMatch, adapted to two domains.

    Before a prediction becomes a pseudo-label, it is multiplied by the ratio of the mean source prediction to
    the mean target prediction of the batch and normalised, so that the target predictions use the classes as
    often as those of the source (distribution alignment).
    The threshold is relative to the mean confidence on the source, since early in training, and on hard
    tasks, no prediction is certain. The paper's random interpolation of logits is left out.

    Args:
        weight, rise, change: see `PseudoLabel`.
        threshold: least probability of a pseudo-label, relative to the mean confidence on the source, 0 to 1.
    """

    def __init__(
        self, weight: float = 1.0, rise: float | None = 10.0, threshold: float = 0.9, **options: Any
    ) -> None:
        super().__init__(weight, rise, threshold, **options)

    def guesses(self, source: Domain, target: Domain) -> tuple[Any, Any]:
        mean_source, mean_target = (ops.mean(domain.probabilities, axis=0) for domain in (source, target))
        aligned = target.probabilities * mean_source / (mean_target + EPSILON)
        aligned = aligned / ops.sum(aligned, axis=-1, keepdims=True)
        return aligned, self.threshold * ops.mean(ops.max(source.probabilities, axis=-1))
