"""What the pages of reports are made of: numbers in words, thumbnails, figures, the templates."""

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from tlkit import plots

SHOWN = 12  # pictures of a kind
THUMBNAIL = 128  # pixels; dozens of larger ones would make the page slow to open


def environment() -> jinja2.Environment:
    """Return the templates, with the filters `percent` and `duration`."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(percent=percent, duration=duration)
    return templates


def percent(share: float) -> str:
    """Round to whole percent, but never up to 100 or down to 0.

    >>> percent(0.864), percent(0.999), percent(1.0)
    ('86', '99.9', '100')
    """
    return f"{100 * share:.0f}" if 0.005 <= share < 0.995 else f"{100 * share:.4g}"


def duration(seconds: float | None) -> str:
    """Write a time in seconds or minutes; a dash where it was not measured."""
    if seconds is None:
        return "–"
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"


def thumbnail(pixels: np.ndarray) -> dict[str, Any]:
    """Return a small picture of RGB pixels `(height, width, 3)`, values 0 to 255, for the page."""
    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    png = io.BytesIO()
    image.save(png, "PNG")
    return {"src": _inlined(png), "few_pixels": image.width < THUMBNAIL / 2}


def figure(
    draw: Callable[[Any], object], size: tuple[float, float], alt: str, *, columns: int = 1, rows: int = 1
) -> dict[str, str]:
    """Let `draw` draw onto `rows` times `columns` axes of a figure of this size in inches."""
    # not from pyplot: a Figure of its own touches no screen and no other figure
    drawn = Figure(figsize=size, layout="constrained")
    draw(drawn.subplots(rows, columns))
    png = io.BytesIO()
    drawn.savefig(png, format="png", dpi=120)
    return {"src": _inlined(png), "alt": alt}


def _inlined(png: io.BytesIO) -> str:
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()


def frozen(table: pd.DataFrame) -> dict[str, str]:
    """Draw what was frozen; see `tlkit.frozen_table`."""
    states = "; ".join(f"{stage} {state}" for stage, state in table["state"].items())
    return figure(lambda ax: plots.frozen(table, ax), (8, 2.2), f"The stages of the network: {states}.")
