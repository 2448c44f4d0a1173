"""The techniques of transfer learning: one module or package per technique."""

from dataclasses import dataclass

from tlkit._internal.registry import Registry


@dataclass(frozen=True)
class Technique:
    """A way to train a classifier on a backbone.

    Attributes:
        name: the name on the command line, such as `"fine-tuning"`.
        summary: what the technique does, in one line.
        paper: the reference, such as `"Donahue et al. 2014"`.
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
        Technique(
            "fine-tuning", "train the head, then the upper layers of the backbone too", "Yosinski et al. 2014"
        ),
        Technique("scratch", "train the same network from random weights: the control", "He et al. 2019"),
    ],
)
