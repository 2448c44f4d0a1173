"""The methods by the names of the command line: one line each.

Nothing here imports Keras, so that a list of methods costs nothing.
"""

from dataclasses import dataclass
from functools import partial

from tlkit._internal.registry import Method, Registry

_METHOD = partial(Method, "tlkit.techniques.domain_adaptation")


class Methods(Registry[Method]):
    """Methods by their names; names joined by `+`, such as `cdan-e+mcc`, are several methods at once."""

    def find(self, name: str) -> Method:
        """Return the row of this name, or a row of `Combined` for several names.

        Raises:
            UnknownNameError: there is none; the message suggests the nearest names.

        >>> METHODS.find("CDAN-E+MCC").name
        'cdan-e+mcc'
        """
        rows = [super(Methods, self).find(each) for each in str(name).split("+")]
        if len(rows) == 1:
            return rows[0]
        names = [row.name for row in rows]
        summary, papers = (
            sep.join(getattr(row, part) for row in rows)
            for part, sep in (("summary", " and "), ("paper", "; "))
        )
        return _METHOD("+".join(names), "combination.Combined", summary, papers, {"methods": names})


METHODS = Methods(
    "method of domain adaptation",
    (
        _METHOD(
            "mmd",
            "divergence.MMD",
            "features with the same mean under Gaussian kernels (DAN)",
            "Long et al. 2015",
        ),
        _METHOD(
            "jan",
            "divergence.JAN",
            "the same for the joint distribution of features and predictions",
            "Long et al. 2017",
        ),
        _METHOD("coral", "divergence.DeepCORAL", "features with the same covariance", "Sun & Saenko 2016"),
        _METHOD(
            "coral-closed",
            "divergence.ClosedFormCORAL",
            "source features mapped to the target covariance in closed form",
            "Sun et al. 2016",
        ),
        _METHOD(
            "cmd",
            "divergence.CMD",
            "features with the same means and central moments",
            "Zellinger et al. 2017",
        ),
        _METHOD(
            "afn", "divergence.AFN", "features of both domains with the same large norm", "Xu et al. 2019"
        ),
        _METHOD(
            "dann", "adversarial.DANN", "features that a discriminator cannot tell apart", "Ganin et al. 2016"
        ),
        _METHOD(
            "pada",
            "adversarial.PADA",
            "DANN with small weights for classes that the target seems to lack",
            "Cao et al. 2018",
        ),
        _METHOD(
            "cdan",
            "adversarial.CDAN",
            "DANN whose discriminator also sees the predictions",
            "Long et al. 2018",
        ),
        _METHOD(
            "cdan-e",
            "adversarial.CDAN",
            "CDAN that weights examples by their certainty",
            "Long et al. 2018",
            {"entropy": True},
        ),
        _METHOD(
            "adda",
            "adversarial.ADDA",
            "a target encoder whose features a discriminator takes for source features",
            "Tzeng et al. 2017",
        ),
        _METHOD(
            "mcd", "discrepancy.MCD", "two classifiers that must agree on the target", "Saito et al. 2018"
        ),
        _METHOD("wdgrl", "discrepancy.WDGRL", "features at a small Wasserstein distance", "Shen et al. 2018"),
        _METHOD(
            "mdd",
            "discrepancy.MDD",
            "features on which an adversary cannot contradict on the target alone",
            "Zhang et al. 2019",
        ),
        _METHOD(
            "entropy",
            "predictions.MinimumEntropy",
            "predictions of low entropy on the target",
            "Grandvalet & Bengio 2005",
        ),
        _METHOD("mcc", "predictions.MCC", "classes that are not confused on the target", "Jin et al. 2020"),
        _METHOD(
            "pseudo-label",
            "predictions.PseudoLabel",
            "certain predictions as labels of augmented views (FixMatch)",
            "Sohn et al. 2020",
        ),
        _METHOD(
            "adamatch",
            "predictions.AdaMatch",
            "the same with the class frequencies of the source and a relative threshold",
            "Roelofs et al. 2022",
        ),
        _METHOD(
            "shot",
            "source_free.SHOT",
            "certain and diverse predictions, and pseudo-labels by centroids, without the source",
            "Liang et al. 2020",
        ),
        _METHOD(
            "adabn",
            "normalization.AdaBN",
            "batch normalisation with the statistics of the target",
            "Li et al. 2017",
        ),
        _METHOD(
            "tent",
            "normalization.TENT",
            "batch normalisation trained for predictions of low entropy",
            "Wang et al. 2021",
        ),
        _METHOD(
            "kliep",
            "weighting.KLIEP",
            "source examples weighted by their similarity to the target",
            "Sugiyama et al. 2008",
        ),
        _METHOD(
            "ratio",
            "weighting.DomainRatio",
            "the same, with the weights of a domain classifier",
            "Bickel et al. 2009",
        ),
    ),
)

STREAM_METHODS = Registry(
    "method of test-time adaptation (`StreamAdapter`, Python only)",
    (
        _METHOD("none", "streams.methods.NoAdaptation", "the classifier as it is", ""),
        _METHOD(
            "statistics",
            "streams.methods.StreamStatistics",
            "batch normalisation with statistics of source and stream",
            "Schneider et al. 2020",
        ),
        _METHOD(
            "tent",
            "streams.methods.StreamTENT",
            "normalisation layers trained for predictions of low entropy",
            "Wang et al. 2021",
        ),
        _METHOD(
            "eata",
            "streams.methods.EATA",
            "the same on certain and diverse predictions, without forgetting the source",
            "Niu et al. 2022",
        ),
        _METHOD(
            "sar",
            "streams.methods.SAR",
            "the same on certain predictions, towards a flat minimum",
            "Niu et al. 2023",
        ),
        _METHOD(
            "cotta",
            "streams.teacher.CoTTA",
            "all weights learn from a teacher, their moving average",
            "Wang et al. 2022",
        ),
    ),
)


@dataclass(frozen=True)
class Validator(Method):
    """A score of a trained network that needs no target labels; higher is better.

    Attributes:
        needs_source: it also needs labelled source examples that were not trained on.
    """

    needs_source: bool = True


_VALIDATOR = partial(Validator, "tlkit.techniques.domain_adaptation")
VALIDATORS = Registry(
    "validator",
    (
        _VALIDATOR(
            "source-accuracy", "validators.source_accuracy", "accuracy on held-out source examples", ""
        ),
        _VALIDATOR(
            "entropy",
            "validators.target_entropy",
            "low entropy of the target predictions",
            "Morerio et al. 2018",
            needs_source=False,
        ),
        _VALIDATOR(
            "snd",
            "validators.soft_neighborhood_density",
            "agreement between neighbouring target predictions",
            "Saito et al. 2021",
            needs_source=False,
        ),
        _VALIDATOR(
            "iwcv",
            "validators.importance_weighted",
            "source accuracy, weighted towards the target",
            "Sugiyama et al. 2007",
        ),
        _VALIDATOR(
            "dev",
            "validators.deep_embedded",
            "the same with reduced variance",
            "You et al. 2019",
        ),
        _VALIDATOR(
            "a-distance",
            "validators.a_distance",
            "features whose domains a linear classifier confuses",
            "Ben-David et al. 2007",
        ),
    ),
)
