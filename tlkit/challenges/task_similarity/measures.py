"""The distances between domains by the names of the command line: one line each."""

from dataclasses import dataclass
from functools import partial

from tlkit._internal.registry import Method, Registry


@dataclass(frozen=True)
class Measure(Method):
    """A distance between the features of two domains: `measure.build(one, other)` is a float.

    Attributes:
        same: what two samples of one domain get, on average over many.
        most: what domains get at most; infinite where there is no bound.
        squared: the number is a squared distance, whose root can be drawn as a length.
    """

    same: float = 0.0
    most: float = float("inf")
    squared: bool = False


_MEASURE = partial(Measure, "tlkit.challenges.task_similarity")
MEASURES = Registry(
    "distance between domains",
    (
        _MEASURE(
            "a-distance",
            "domains.proxy_a_distance",
            "how surely a linear classifier tells the domains apart, 0 to 2",
            "Ben-David et al. 2007",
            most=2.0,
        ),
        _MEASURE(
            "auc",
            "domains.domain_auc",
            "how well such a classifier ranks them, 0.5 (not at all) to 1",
            "Ben-David et al. 2007",
            same=0.5,
            most=1.0,
        ),
        _MEASURE(
            "mmd",
            "domains.mmd",
            "squared distance of the means under Gaussian kernels",
            "Gretton et al. 2012",
            most=2.0,
            squared=True,
        ),
        _MEASURE(
            "frechet",
            "domains.frechet_distance",
            "squared distance of two Gaussians, in squared units of the features",
            "Dowson & Landau 1982",
            squared=True,
        ),
    ),
)
