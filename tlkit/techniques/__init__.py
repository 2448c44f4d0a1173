"""The techniques of transfer learning, one module each."""

from dataclasses import dataclass

from tlkit._internal.registry import Registry


@dataclass(frozen=True)
class Technique:
    """A way to train a classifier on a backbone.

    Attributes:
        name: on the command line.
        summary: what it does, in one line.
        paper: the source.
    """

    name: str
    summary: str
    paper: str


TECHNIQUES = Registry(
    "technique",
    [
        Technique(
            "feature-extraction",
            "freeze the backbone and train a head on its features",
            "Donahue et al. 2014",
        ),
        Technique("fine-tuning", "train the head, then the upper layers as well", "Yosinski et al. 2014"),
        Technique("scratch", "train the same network from random weights: the control", "He et al. 2019"),
    ],
)
