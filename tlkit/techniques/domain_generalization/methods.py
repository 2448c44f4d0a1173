"""The methods by the names of the command line: one line each.

Nothing here imports Keras, so that a list of methods costs nothing.
"""

from functools import partial

from tlkit._internal.registry import Method, Registry

_METHOD = partial(Method, "tlkit.techniques.domain_generalization")

METHODS = Registry(
    "method of domain generalization",
    (
        _METHOD(
            "frozen",
            "training.Frozen",
            "no training: a head solved on the frozen features of all domains",
            "Donahue et al. 2014",
        ),
        _METHOD(
            "erm",
            "training.ERM",
            "the network learns from the images of all domains alike: the control",
            "Gulrajani & Lopez-Paz 2021",
        ),
        _METHOD(
            "averaging",
            "training.WeightAveraging",
            "the weights are averaged over the last steps",
            "Arpit et al. 2022; Cha et al. 2021",
        ),
        _METHOD(
            "mixstyle",
            "mixstyle.MixStyleTraining",
            "the means and standard deviations of early feature maps are mixed between images",
            "Zhou et al. 2021",
        ),
        _METHOD(
            "group-dro",
            "group_dro.GroupDROTraining",
            "domains with a higher loss get a larger weight",
            "Sagawa et al. 2020",
        ),
    ),
)
