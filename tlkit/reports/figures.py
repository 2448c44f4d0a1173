"""Figures and small images for a page, as data URIs, so that the page is one file."""

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Drawing
from PIL import Image

from tlkit import plots
from tlkit.reports.document import Figure, Thumbnail

SIZE = 128  # pixels of a thumbnail; dozens of larger ones would make the page slow to open


def figure(
    draw: Callable[[Any], object],
    size: tuple[float, float],
    alt: str,
    caption: str = "",
    *,
    columns: int = 1,
    rows: int = 1,
) -> Figure:
    """Draw a figure.

    Args:
        draw: draws onto the axes, of which there are `rows` times `columns`.
        size: width and height in inches.
        alt: what it shows, for those who cannot see it.
        caption: what to look for.
    """
    # not from pyplot: a figure of its own touches no screen and no other figure
    drawing = Drawing(figsize=size, layout="constrained")
    draw(drawing.subplots(rows, columns))
    png = io.BytesIO()
    drawing.savefig(png, format="png", dpi=120)
    return Figure(data_uri(png.getvalue()), alt, caption)


def accuracies(
    values: dict[str, float],
    alt: str,
    caption: str,
    *,
    quantity: str = "accuracy",
    intervals: dict[str, tuple[float, float]] | None = None,
) -> Figure:
    """Draw accuracies, 0 to 1, as one row of a dot plot each."""
    return figure(
        lambda ax: plots.compare_arms(
            {name: [value] for name, value in values.items()}, ax, intervals=intervals, quantity=quantity
        ),
        (6.4, 0.8 + 0.55 * len(values)),
        f"{alt}: " + "; ".join(f"{name} {value:.1%}" for name, value in values.items()) + ".",
        caption,
    )


def stages(table: pd.DataFrame) -> Figure:
    """Draw which stages of a network were frozen; see `tlkit.frozen_table`."""
    states = "; ".join(f"{stage} {state}" for stage, state in table["state"].items())
    return figure(
        lambda ax: plots.frozen(table, ax),
        (8, 2.2),
        f"The stages of the network: {states}.",
        "The network from its input (left) to its head (right) in the last phase of training. The numbers "
        "are parameters; the width of a block is their square root. The statistics of batch normalisation "
        "count as parameters that do not learn.",
    )


def thumbnail(pixels: np.ndarray, alt: str = "") -> Thumbnail:
    """Return a small version of RGB pixels `(height, width, 3)`, values 0 to 255."""
    image = Image.fromarray(pixels)
    image.thumbnail((SIZE, SIZE))
    png = io.BytesIO()
    image.save(png, "PNG")
    return Thumbnail(data_uri(png.getvalue()), alt, image.width < SIZE / 2)


def data_uri(png: bytes) -> str:
    """Return a PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
