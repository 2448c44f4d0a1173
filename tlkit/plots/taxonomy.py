"""The three types of transfer learning, as one diagram."""

from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

from tlkit.errors import UnknownNameError
from tlkit.plots.style import PALETTE, axes_or_new


@dataclass(frozen=True)
class _Type:
    definition: str
    source: tuple[str, str, str]  # images, task, labels
    target: tuple[str, str, str]
    lessons: str


TYPES = {
    "inductive": _Type(
        "other task,\nsome target labels",
        ("photographs", "name 1,000 things", "labels"),
        ("photos of solar cells", "defect or not", "some labels"),
        "lessons 00 to 03, 07 to 12",
    ),
    "transductive": _Type(
        "same task, other domain,\nlabels in the source only",
        ("monocrystalline cells", "defect or not", "labels"),
        ("polycrystalline cells", "defect or not", "no labels"),
        "lessons 04 and 06",
    ),
    "unsupervised": _Type(
        "other task,\nno labels anywhere",
        ("drawings", "which views match", "no labels"),
        ("other drawings", "find groups", "no labels"),
        "lesson 05",
    ),
}
LABELS = {"labels": "green", "some labels": "blue", "no labels": "grey"}


def taxonomy(kind: str | None = None, ax: Axes | None = None) -> Axes:
    """Draw the three types of transfer learning, each with an example of a source and a target.

    A *domain* is a kind of image: a feature space X and a distribution P(X). A *task* is a set of labels Y
    and the function f from images to labels. The types differ in what source and target have in common, and
    in where labels are.

    Pan & Yang 2010, "A Survey on Transfer Learning".

    Args:
        kind: the type to highlight, `"inductive"`, `"transductive"` or `"unsupervised"`; None highlights
            none.
        ax: axes to draw on; new ones by default.

    Raises:
        UnknownNameError: there is no such type.

    >>> taxonomy("inductive").texts[0].get_text()
    'inductive'
    """
    if kind not in (None, *TYPES):
        raise UnknownNameError("type of transfer", str(kind), list(TYPES))
    ax = axes_or_new(ax, (9, 3.7))
    for index, (name, each) in enumerate(TYPES.items()):
        strength = 1.0 if kind in (None, name) else 0.35
        middle, chosen = 3.1 * index + 1.5, kind == name
        color = PALETTE["blue"] if chosen else PALETTE["light"]
        _box(ax, (middle - 1.45, 0.05), (2.9, 4.2), color, 2.5 if chosen else 1.0)
        text: dict[str, Any] = {"ha": "center", "alpha": strength}
        ax.text(middle, 3.9, name, fontsize=12, weight="bold", va="center", **text)
        ax.text(middle, 3.42, each.definition, fontsize=9, va="center", linespacing=1.3, **text)
        _side(ax, middle, 2.0, "source", each.source, strength)
        _side(ax, middle, 0.6, "target", each.target, strength)
        arrow: dict[str, Any] = {
            "arrowstyle": "-|>",
            "color": PALETTE["grey"],
            "linewidth": 1.5,
            "alpha": strength,
        }
        ax.annotate("", (middle, 1.62), (middle, 2.0), arrowprops=arrow)
        ax.text(middle, 0.3, each.lessons, fontsize=8, color=PALETTE["grey"], va="center", **text)
    ax.set(xlim=(0, 9.25), ylim=(0, 4.3))
    ax.axis("off")
    return ax


def _side(
    ax: Axes, middle: float, bottom: float, name: str, side: tuple[str, str, str], strength: float
) -> None:
    images, task, labels = side
    _box(ax, (middle - 1.3, bottom), (2.6, 1.02), PALETTE["light"], 1.0, "#F7F7F7")
    line: dict[str, Any] = {"fontsize": 8.5, "va": "center", "alpha": strength}
    left = middle - 1.22
    ax.text(left, bottom + 0.82, name, weight="bold", **line)
    ax.text(left, bottom + 0.52, f"domain: {images}", **line)
    ax.text(left, bottom + 0.22, f"task: {task}", **line)
    badge: dict[str, Any] = {
        "boxstyle": "round,pad=0.25",
        "color": PALETTE[LABELS[labels]],
        "alpha": strength,
    }
    ax.text(
        middle + 1.22, bottom + 0.82, labels, fontsize=8, color="white", ha="right", va="center", bbox=badge
    )


def _box(
    ax: Axes,
    corner: tuple[float, float],
    size: tuple[float, float],
    color: str,
    width: float,
    inside: str = "white",
) -> None:
    style = "round,pad=0,rounding_size=0.08"
    patch = FancyBboxPatch(corner, *size, boxstyle=style, edgecolor=color, facecolor=inside, linewidth=width)
    ax.add_patch(patch)
