"""The methods by the names of the command line: one line each.

Nothing here imports Keras, so that a list of methods costs nothing.
"""

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tlkit.errors import UnknownNameError

if TYPE_CHECKING:
    from tlkit.techniques.domain_adaptation.alignment import Alignment


@dataclass(frozen=True)
class Method:
    """A method of domain adaptation.

    Attributes:
        name: on the command line.
        home: file and class.
        does: what it does, in a line.
        paper: where it is from.
        options: of the class.
    """

    name: str
    home: str
    does: str
    paper: str
    options: dict[str, Any] = field(default_factory=dict)

    def build(self, **options: Any) -> "Alignment":
        """Make the method, ready for `DomainAdapter`."""
        module, name = self.home.split(".")
        home = importlib.import_module(f"tlkit.techniques.domain_adaptation.{module}")
        return getattr(home, name)(**{**self.options, **options})


METHODS = (
    Method(
        "mmd",
        "divergence.MMD",
        "features with the same mean under Gaussian kernels (DAN)",
        "Long et al. 2015",
    ),
    Method("jan", "divergence.JAN", "the same for features and predictions together", "Long et al. 2017"),
    Method("coral", "divergence.DeepCORAL", "features with the same covariance", "Sun & Saenko 2016"),
    Method(
        "coral-closed",
        "divergence.ClosedFormCORAL",
        "fixed source features recoloured like the target's, in closed form",
        "Sun et al. 2016",
    ),
    Method(
        "cmd", "divergence.CMD", "features with the same means and central moments", "Zellinger et al. 2017"
    ),
    Method("afn", "divergence.AFN", "features of both domains that grow together", "Xu et al. 2019"),
    Method(
        "dann", "adversarial.DANN", "features that a discriminator cannot tell apart", "Ganin et al. 2016"
    ),
    Method("cdan", "adversarial.CDAN", "the same, seen together with the predictions", "Long et al. 2018"),
    Method(
        "cdan-e",
        "adversarial.CDAN",
        "CDAN that trusts sure predictions more",
        "Long et al. 2018",
        {"entropy": True},
    ),
    Method(
        "adda",
        "adversarial.ADDA",
        "an encoder for the target that passes for the source's",
        "Tzeng et al. 2017",
    ),
    Method("mcd", "discrepancy.MCD", "two classifiers that must agree on the target", "Saito et al. 2018"),
    Method("wdgrl", "discrepancy.WDGRL", "features at a small Wasserstein distance", "Shen et al. 2018"),
    Method("mdd", "discrepancy.MDD", "no adversary may contradict on the target alone", "Zhang et al. 2019"),
    Method(
        "entropy", "predictions.MinimumEntropy", "sure predictions on the target", "Grandvalet & Bengio 2005"
    ),
    Method("mcc", "predictions.MCC", "classes that are not confused on the target", "Jin et al. 2020"),
    Method(
        "pseudo-label",
        "predictions.PseudoLabel",
        "sure predictions become labels of changed views (FixMatch)",
        "Sohn et al. 2020",
    ),
    Method(
        "adabn", "normalization.AdaBN", "batch normalisation by the target's statistics", "Li et al. 2017"
    ),
    Method(
        "tent", "normalization.TENT", "batch normalisation that learns sure predictions", "Wang et al. 2021"
    ),
    Method("kliep", "weighting.KLIEP", "source examples like the target count more", "Sugiyama et al. 2008"),
    Method("ratio", "weighting.DomainRatio", "the same, by a classifier of the domain", "Bickel et al. 2009"),
)


def find(name: str) -> Method:
    """Return the method of this name.

    Raises:
        UnknownNameError: there is none; the message offers the nearest ones.

    >>> find("cdan-e").paper
    'Long et al. 2018'
    """
    by_name = {method.name: method for method in METHODS}
    if name.lower() not in by_name:
        raise UnknownNameError("method of domain adaptation", name, by_name)
    return by_name[name.lower()]
