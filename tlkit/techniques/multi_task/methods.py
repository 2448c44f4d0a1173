"""The balancing rules by name."""

from tlkit.errors import UnknownNameError
from tlkit.techniques.multi_task.balancing import (
    Balancing,
    DynamicWeightAverage,
    EqualWeights,
    RandomWeights,
    UncertaintyWeights,
)
from tlkit.techniques.multi_task.gradient_balancing import CAGrad, GradNorm, PCGrad

BALANCINGS: dict[str, type[Balancing]] = {
    "equal": EqualWeights,
    "random": RandomWeights,
    "uncertainty": UncertaintyWeights,
    "dwa": DynamicWeightAverage,
    "gradnorm": GradNorm,
    "pcgrad": PCGrad,
    "cagrad": CAGrad,
}


def find(name: str) -> type[Balancing]:
    """Return the rule of this name; the fixed weights need numbers and have none.

    >>> find("PCGrad").__name__
    'PCGrad'
    """
    if name.lower() not in BALANCINGS:
        raise UnknownNameError("balancing", name, BALANCINGS)
    return BALANCINGS[name.lower()]
