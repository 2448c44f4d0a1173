"""The methods by the names of the command line: one row each.

Nothing here imports Keras, so that a list of methods costs nothing.
"""

from dataclasses import dataclass
from functools import partial

from tlkit._internal.registry import Method, Registry

_METHOD = partial(Method, "tlkit.techniques.domain_adaptation")

# The defaults of `tlkit adapt`: see benchmarks/domain_adaptation.py.
ON_FEATURES, END_TO_END, WITHOUT_SOURCE = "mcc", "adamatch+mcc", "shot"


class Methods(Registry[Method]):
    """Methods by their names; names joined by `+`, such as `cdan-e+mcc`, are several methods at once."""

    def find(self, name: str) -> Method:
        """Return the row of this name, or a row of `Combined` for several names.

        Raises:
            UnknownNameError: there is none; the message suggests the nearest names.

        >>> METHODS.find("CDAN-E+MCC").name
        'cdan-e+mcc'
        """
        rows = [super(Methods, self).find(part) for part in str(name).split("+")]
        if len(rows) == 1:
            return rows[0]
        names = [row.name for row in rows]
        summary, papers = " and ".join(row.summary for row in rows), "; ".join(row.paper for row in rows)
        return _METHOD("+".join(names), "combined.Combined", summary, papers, {"methods": names})


# fmt: off
METHODS = Methods("method of domain adaptation", (
    _METHOD("mcc", "mcc.MCC", "classes that are not confused on the target (the default on features)",
            "Jin et al. 2020"),
    _METHOD("adamatch", "adamatch.AdaMatch",
            "pseudo-labels with the class frequencies of the source (with mcc, the default end to end)",
            "Roelofs et al. 2022"),
    _METHOD("mmd", "dan.MMD", "features with the same mean under Gaussian kernels (DAN)", "Long et al. 2015"),
    _METHOD("jan", "jan.JAN", "the same for the joint distribution of features and predictions",
            "Long et al. 2017"),
    _METHOD("coral", "correlation_alignment.DeepCORAL", "features with the same covariance",
            "Sun & Saenko 2016"),
    _METHOD("coral-closed", "correlation_alignment.ClosedFormCORAL",
            "source features mapped to the target covariance in closed form", "Sun et al. 2016"),
    _METHOD("dann", "dann.DANN", "features that a discriminator cannot tell apart", "Ganin et al. 2016"),
    _METHOD("cdan", "cdan.CDAN", "DANN whose discriminator also sees the predictions", "Long et al. 2018"),
    _METHOD("cdan-e", "cdan.CDAN", "CDAN that weights examples by their certainty", "Long et al. 2018",
            {"entropy": True}),
    _METHOD("adda", "adda.ADDA", "a target encoder whose features a discriminator takes for source features",
            "Tzeng et al. 2017"),
    _METHOD("mcd", "mcd.MCD", "two classifiers that must agree on the target", "Saito et al. 2018"),
    _METHOD("entropy", "entropy.MinimumEntropy", "predictions of low entropy on the target",
            "Grandvalet & Bengio 2005"),
    _METHOD("pseudo-label", "pseudo_label.PseudoLabel",
            "certain predictions as labels of augmented views (FixMatch)", "Sohn et al. 2020"),
    _METHOD("shot", "shot.SHOT",
            "certain and diverse predictions, and pseudo-labels by centroids, without the source",
            "Liang et al. 2020"),
    _METHOD("adabn", "adabn.AdaBN", "batch normalisation with the statistics of the target",
            "Li et al. 2017"),
    _METHOD("kliep", "importance_weighting.KLIEP",
            "source examples weighted by their similarity to the target", "Sugiyama et al. 2008"),
))
# fmt: on


@dataclass(frozen=True)
class Validator(Method):
    """A score of a trained network that needs no target labels; higher is better.

    Attributes:
        needs_source: it also needs labelled source examples that were not trained on.
    """

    needs_source: bool = True


_VALIDATOR = partial(Validator, "tlkit.techniques.domain_adaptation")

# fmt: off
VALIDATORS = Registry("validator", (
    _VALIDATOR("source-accuracy", "validators.source_accuracy", "accuracy on held-out source examples", ""),
    _VALIDATOR("entropy", "validators.target_entropy", "low entropy of the target predictions",
               "Morerio et al. 2018", needs_source=False),
    _VALIDATOR("snd", "validators.soft_neighborhood_density",
               "agreement between neighbouring target predictions", "Saito et al. 2021", needs_source=False),
    _VALIDATOR("iwcv", "validators.importance_weighted", "source accuracy, weighted towards the target",
               "Sugiyama et al. 2007"),
    _VALIDATOR("a-distance", "validators.a_distance", "features whose domains a linear classifier confuses",
               "Ben-David et al. 2007"),
))
# fmt: on
