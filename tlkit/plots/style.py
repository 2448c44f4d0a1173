"""What all figures share: colours, light axes, short names.

The colours are from Okabe & Ito 2008, "Color Universal Design": they differ for colour-blind readers too.
"""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

PALETTE = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#007A5A",  # darker than the original, to be read as text
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "purple": "#CC79A7",
    "grey": "#767676",
    "light": "#D0D0D0",
}


def axes_or_new(ax: Axes | None, size: tuple[float, float]) -> Axes:
    """Return the axes, or those of a new figure of this size in inches."""
    return plt.subplots(figsize=size, layout="constrained")[1] if ax is None else ax


def lighten(ax: Axes) -> None:
    """Take the frame back, so that the data stand out."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(PALETTE["light"])
    ax.tick_params(color=PALETTE["light"])


def legend(ax: Axes) -> None:
    """Add a legend in which a dollar sign is one: the names may be anybody's."""
    for text in ax.legend(frameon=False, fontsize=9).get_texts():
        text.set_parse_math(False)


def shortened(name: str, length: int) -> str:
    """Cut a name that is longer than this, and show that it was cut."""
    return name if len(name) <= length else name[: length - 1] + "…"
