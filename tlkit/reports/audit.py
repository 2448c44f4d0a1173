"""Sections of an audit: the problems with images of the pairs, the classes, and what could be removed."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tlkit.plots.audit import PAIRS_PER_ROW, class_counts, image_pairs
from tlkit.reports.document import Block, Figure, Section, Table, Text
from tlkit.reports.figures import figure
from tlkit.reports.words import counted

LISTED = 12  # names of a kind
MAX_CLASSES = 60  # classes in the figure


def problem_section(title: str, text: str, examples: Sequence[str], pairs: Figure | None) -> Section:
    """Return the section on one problem.

    Args:
        title: its level, name and count.
        text: why it matters and what to do.
        examples: names of images.
        pairs: of `pair_figure`, for a problem about pairs.
    """
    blocks: list[Block] = [Text(text), *([] if pairs is None else [pairs])]
    if examples:
        more = len(examples) - LISTED
        column = "which" if more <= 0 else f"which (the first {LISTED}, and {more} more in metrics.json)"
        blocks.append(Table(pd.DataFrame({column: list(examples[:LISTED])})))
    return Section(title, blocks)


def pair_figure(
    first: np.ndarray, second: np.ndarray, titles: Sequence[tuple[str, str]], name: str, more: bool
) -> Figure:
    """Draw pairs of images.

    Args:
        first, second: uint8 `(n, height, width, 3)`.
        titles: what stands above each image of a pair.
        name: of the problem.
        more: there are more pairs than these.
    """
    rows = -(-len(first) // PAIRS_PER_ROW)
    return figure(
        lambda axes: image_pairs(np.stack([first, second], axis=1), titles, axes),
        (9, 1.9 * rows),
        f"{counted(len(first), 'pair')} of images: {name}.",
        "Class and split are above each image. " + ("The most similar pairs come first." if more else ""),
        columns=PAIRS_PER_ROW,
        rows=rows,
    )


def class_section(classes: pd.DataFrame) -> Section:
    """Return the section on the classes; see `Audit.classes`."""
    few = classes.sort_values("images", ascending=False, kind="stable")[:MAX_CLASSES]
    drawn = figure(
        lambda ax: class_counts(few, ax),
        (7, 1.0 + 0.26 * len(few)),
        f"Images of {len(few)} classes by split; the largest has {few['images'].max()}.",
        "The images of each class by split, the largest class first.",
    )
    return Section("Classes", [drawn, Table(classes.reset_index())])


def removable_section(names: Sequence[str]) -> Section:
    """Return the section on the files that could be removed."""
    text = (
        "Without these files no image is there twice, under two labels, or unreadable; look at the pairs "
        f"first. All {len(names)} names are in metrics.json, as removable."
    )
    return Section("What could be removed", [Text(text), Table(pd.DataFrame({"file": list(names[:LISTED])}))])
