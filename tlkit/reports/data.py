"""Sections about the data: the card, some images, and files that were skipped or copied."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tlkit.data import Dataset, Split
from tlkit.reports.document import Images, Listing, Section, Terms, Text, Tile
from tlkit.reports.figures import thumbnail
from tlkit.reports.words import counted, shortened

SPLITS = ("train", "validation", "test")
SHOWN = 12  # images of a kind

VALIDATION_ONLY = (
    "There is no test split, so these are validation images. Training kept the epoch that was best on them: "
    "expect a slightly lower accuracy on new images."
)
CROSS_VALIDATED = (
    "There is no test split, so these are validation images. Each was predicted by a model that was not "
    "trained on it (cross-validation). They also helped to choose the settings, so expect a slightly lower "
    "accuracy on new images."
)
TRAIN_ONLY = (
    "There is neither a test nor a validation split, so these are the training images. The accuracy says "
    "nothing about new images."
)
INTERRUPTED = "Training was interrupted before its end."


def cautions(split: str | None, interrupted: bool, *, cross_validated: bool = False) -> list[str]:
    """Return why the figures of a split may be too good."""
    found = {
        "validation": [CROSS_VALIDATED if cross_validated else VALIDATION_ONLY],
        "train": [TRAIN_ONLY],
    }.get(split or "", [])
    return [*found, INTERRUPTED] if interrupted else list(found)


def data_metrics(data: Dataset) -> dict[str, Any]:
    """Return what `metrics.json` says about the data."""
    return {
        "data": data.card.name,
        "image_size": data.image_size,
        "splits": {name: len(data.splits[name]) if name in data.splits else None for name in SPLITS},
        "skipped": {"count": len(data.skipped), "files": list(data.skipped)},
        "duplicates": {"count": len(data.duplicates), "pairs": [list(pair) for pair in data.duplicates]},
    }


def data_section(data: Dataset, contents: Mapping[str, str], tiles: Sequence[Tile] = ()) -> Section:
    """Return the section on the data.

    Args:
        data: the data set.
        contents: what there is to learn, such as `{"classes": "cat, dog"}`.
        tiles: some training images.
    """
    card, size = data.card, data.image_size
    counts = ", ".join(
        f"{name} {len(data.splits[name]) if name in data.splits else 'none'}" for name in SPLITS
    )
    sources = {"licence": card.licence, "source": card.source, "citation": card.citation}
    items = {"name": card.name, "images": f"{counts}; read at {size} x {size} pixels", **contents}
    section: list[Any] = [Text(card.description)] if card.description else []
    section.append(Terms(items | {name: text for name, text in sources.items() if text}))
    if tiles:
        section += [Images(tiles), Text("Some training images, at the size that the network takes.", "soft")]
    return Section("The data", section)


def class_terms(class_names: Sequence[str]) -> dict[str, str]:
    """Return the classes for `data_section`."""
    return {"classes": shortened(class_names, 24)}


def tiles(
    split: Split, rows: Sequence[int] | np.ndarray, lines: Callable[[int], list[tuple[str, str]]], alt: str
) -> list[Tile]:
    """Return images of a split with lines below them.

    Args:
        split: only the chosen images are read.
        rows: which images.
        lines: the lines below an image, by its place in `rows`.
        alt: what an image shows; `{name}` stands for its file.
    """
    rows = np.asarray(rows, int)
    chosen = zip(split.images[rows], split.names[rows], strict=True)
    return [
        Tile([thumbnail(pixels, alt.format(name=name))], lines(place))
        for place, (pixels, name) in enumerate(chosen)
    ]


def problem_sections(data: Dataset, skipped: str = "file") -> list[Section]:
    """Return the sections on files that were skipped and on copies in two splits, where there are any.

    Args:
        data: the data set.
        skipped: what was skipped, in the singular.
    """
    found = []
    if data.skipped:
        text = f"{counted(len(data.skipped), skipped)} could not be used."
        found.append(Section("Files that were skipped", [Text(text), Listing(data.skipped)]))
    if data.duplicates:
        count = len(data.duplicates)
        text = (
            f"{count} {'pair' if count == 1 else 'pairs'} of identical images "
            f"{'lies' if count == 1 else 'lie'} in two different splits. The network may be tested on an "
            "image that it was trained on, and the accuracy above may be too high."
        )
        pairs = [f"{one} = {other}" for one, other in data.duplicates]
        found.append(Section("Duplicates", [Text(text, "caution"), Listing(pairs)]))
    return found
