"""The common style of all figures: colours, axes, legends and shortened names.

The colours are from Okabe & Ito 2008, "Color Universal Design"; colour-blind readers can distinguish them.
"""

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
}


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
