"""The common style of all figures: colours, axes, legends and shortened names.

Most colours are from Okabe & Ito 2008, "Color Universal Design"; colour-blind readers can distinguish them.
"""

from collections.abc import Iterable

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

PALETTE = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#007A5A",  # darker than the original, so that text in this colour is readable
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
    "grey": "#767676",
    "light": "#D0D0D0",
    "olive": "#8A8A1E",
    "brown": "#7A4B2A",
}

# An arm has the same colour in every figure. The first of these words that its name contains counts.
ARMS = {
    "scratch": "grey",
    "random": "grey",
    "target only": "grey",
    "majority": "light",
    "target label": "green",
    "ceiling": "green",
    "fine-tun": "vermillion",
    "frozen": "blue",
    "source only": "orange",
}
OTHERS = ("sky", "purple", "olive", "brown", "blue", "green", "orange", "vermillion")


def arm_colors(names: Iterable[str]) -> dict[str, str]:
    """Return the colour of each arm of an experiment, as a hexadecimal code, by name.

    Arms that occur in many experiments have a fixed colour: scratch and random weights are grey, frozen is
    blue, fine-tuned vermillion, source only orange, and training with target labels green. Each other arm
    takes the next colour that no arm of this figure has.

    >>> arm_colors(["from scratch", "frozen", "CORAL"])["frozen"] == PALETTE["blue"]
    True
    """
    names = [str(name) for name in names]
    found = {
        name: next((color for word, color in ARMS.items() if word in name.lower()), "") for name in names
    }
    free = [color for color in OTHERS if color not in found.values()] or list(OTHERS)
    others = [name for name in names if not found[name]]
    found |= {name: free[index % len(free)] for index, name in enumerate(others)}
    return {name: PALETTE[found[name]] for name in names}


def axes_or_new(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return `ax`, or the axes of a new figure of this size (width, height) in inches."""
    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def lighten(ax: Axes) -> None:
    """Hide the top and right spines and grey the others, so that the data stand out."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(PALETTE["light"])
    ax.tick_params(color=PALETTE["light"])


def legend(ax: Axes) -> None:
    """Add a legend that does not treat dollar signs as mathematics, because names come from the user."""
    for text in ax.legend(frameon=False, fontsize=9).get_texts():
        text.set_parse_math(False)


def shortened(name: str, length: int) -> str:
    """Shorten a name to at most `length` characters, with an ellipsis.

    >>> shortened("EfficientNetLite0", 10)
    'Efficient…'
    """
    return name if len(name) <= length else name[: length - 1] + "…"
