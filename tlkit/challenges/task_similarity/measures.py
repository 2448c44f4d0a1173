"""The table of distances between domains, by their names on the command line."""

from dataclasses import dataclass
from functools import partial

from tlkit._internal.registry import Method, Registry


@dataclass(frozen=True)
class Measure(Method):
    """A distance between two domains: `measure.build(one, other)` returns a float from their features.

    Attributes:
        same: expected value for two large samples of one domain.
        maximum: largest possible value; infinite if there is no bound.
        squared: whether the value is a squared distance, so that its square root is a length.
    """

    same: float = 0.0
    maximum: float = float("inf")
    squared: bool = False


_MEASURE = partial(Measure, "tlkit.challenges.task_similarity")
MEASURES = Registry(
    "distance between domains",
    (
        _MEASURE(
            "a-distance",
            "domains.proxy_a_distance",
            "separability of the domains by a linear classifier, 0 to 2",
            "Ben-David et al. 2007",
            maximum=2.0,
        ),
        _MEASURE(
            "auc",
            "domains.domain_auc",
            "area under the ROC curve of a linear domain classifier, 0.5 (same) to 1",
            "Ben-David et al. 2007",
            same=0.5,
            maximum=1.0,
        ),
        _MEASURE(
            "mmd",
            "domains.mmd",
            "squared distance between the means under Gaussian kernels",
            "Gretton et al. 2012",
            maximum=2.0,
            squared=True,
        ),
        _MEASURE(
            "frechet",
            "domains.frechet_distance",
            "squared distance between fitted Gaussians, in squared units of the features",
            "Dowson & Landau 1982",
            squared=True,
        ),
    ),
)
