"""Sections of an audit: the problems with their images, the classes, and what could be removed."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tlkit.plots.audit import PAIRS_PER_ROW, class_counts, image_pairs
from tlkit.reports.document import Block, Figure, Images, Section, Table, Text, Tile
from tlkit.reports.figures import accuracies, figure, thumbnail
from tlkit.reports.words import counted, percent, shortened

LISTED = 12  # names of a kind
CONFUSIONS = 8  # pairs of a label and a suggested class
MAX_CLASSES = 60  # classes in the figure
ALL = "all images"


def problem_section(title: str, text: str, shown: Sequence[Block], examples: Sequence[str] = ()) -> Section:
    """Return the section on one problem.

    Args:
        title: its level, name and count.
        text: why it matters and what to do.
        shown: figures and images.
        examples: names of images, where they are not shown.
    """
    blocks: list[Block] = [Text(text), *shown]
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


def label_blocks(images: np.ndarray, errors: pd.DataFrame) -> list[Block]:
    """Show the images of the first likely label errors, and which labels are confused most often.

    Args:
        images: uint8 `(n, height, width, 3)`, of the first `n` rows of the table.
        errors: all likely label errors: `file`, `label`, `suggested` and `probability`.
    """
    tiles = [
        Tile(
            [thumbnail(pixels, f"{each.file}, labelled {each.label}")],
            [
                (f"label: {each.label}", ""),
                (f"suggested: {each.suggested}, {percent(each.probability)}\u00a0%", ""),
                (each.file, "file"),
            ],
        )
        for pixels, each in zip(images, errors.itertuples(), strict=False)
    ]
    counts = errors.groupby(["label", "suggested"]).size().sort_values(ascending=False, kind="stable")
    caption = (
        "The least probable labels come first. Each image has its label, the suggested class and the "
        f"probability of that class.{_rest(len(images), len(errors))}"
    )
    confused = counts[:CONFUSIONS].rename("images").reset_index()
    return [Images(tiles), Text(caption, "soft"), Table(confused, "Which labels are suspected most often")]


def outlier_blocks(images: np.ndarray, outliers: pd.DataFrame) -> list[Block]:
    """Show the images of the first outliers.

    Args:
        images: uint8 `(n, height, width, 3)`, of the first `n` rows of the table.
        outliers: all outliers: `file`, `label` and `distance`.
    """
    tiles = [
        Tile(
            [thumbnail(pixels, f"{each.file}, labelled {each.label}")],
            [(f"label: {each.label}", ""), (f"distance: {each.distance:.1f}", ""), (each.file, "file")],
        )
        for pixels, each in zip(images, outliers.itertuples(), strict=False)
    ]
    caption = (
        "The farthest images come first. The distance is the mean cosine distance to the ten nearest images, "
        f"relative to the median of all images.{_rest(len(images), len(outliers))}"
    )
    return [Images(tiles), Text(caption, "soft")]


def group_accuracies(groups: Sequence[Mapping[str, float]], overall: float, count: int) -> Figure:
    """Draw the accuracy in each group, and in all images.

    Args:
        groups: `accuracy`, `low` and `high` of the first groups.
        overall: the accuracy in all images.
        count: the number of all groups.
    """
    values = {ALL: overall} | {f"group {n}": each["accuracy"] for n, each in enumerate(groups, 1)}
    intervals = {ALL: (overall, overall)}
    intervals |= {f"group {n}": (each["low"], each["high"]) for n, each in enumerate(groups, 1)}
    return accuracies(
        values,
        "Accuracy in the groups and in all images",
        "The fraction of cross-validated predictions that agree with the label, with its 95 % interval."
        f"{_rest(len(groups), count)}",
        intervals=intervals,
    )


def group_blocks(number: int, images: np.ndarray, members: pd.DataFrame) -> list[Block]:
    """Describe a weak group and show its first images.

    Args:
        number: the number of the group.
        images: uint8 `(n, height, width, 3)`, of the first `n` members.
        members: all images of the group, those that are predicted wrongly first: `file`, `label`, and
            `suggested`, which is "" where the prediction agrees with the label.
    """
    tiles = [
        Tile(
            [thumbnail(pixels, f"{each.file}, labelled {each.label}")],
            [
                (f"label: {each.label}", ""),
                (f"predicted: {each.suggested or each.label}", "wrong" if each.suggested else "right"),
                (each.file, "file"),
            ],
        )
        for pixels, each in zip(images, members.itertuples(), strict=False)
    ]
    labels = [f"{name} ({count})" for name, count in members["label"].value_counts().items()]
    wrong = members[members["suggested"] != ""]
    mistakes = (wrong["label"] + " predicted as " + wrong["suggested"]).value_counts()
    text = (
        f"Group {number}: {counted(len(members), 'image')}; {len(wrong)} predictions differ from the label, "
        f"and these are shown first. Labels: {shortened(labels, 4)}. Most frequent mistake: "
        f"{mistakes.index[0]} ({mistakes.iloc[0]})."
    )
    return [Text(text), Images(tiles)]


def _rest(shown: int, count: int) -> str:
    return f" These are {shown} of {count}; the others are in suspects.csv." if count > shown else ""


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
        "Removing these files leaves no unreadable files, and no pairs that the perceptual hashes find. "
        f"Check the pairs first. All {len(names)} names are in metrics.json, as removable."
    )
    return Section("What could be removed", [Text(text), Table(pd.DataFrame({"file": list(names[:LISTED])}))])
