"""What a comparison found: an answer in a sentence, figures and tables on a page, every number as JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tlkit.cache import atomic
from tlkit.outputs import prepare, written_whole
from tlkit.page_parts import environment, figure
from tlkit.report import software


@dataclass
class Part:
    """A section of the page.

    Attributes:
        title: its heading.
        text: what to know before looking.
        figures: of `captioned`.
        table: shown as it is, the first column as names; numbers with three digits that count.
    """

    title: str
    text: str = ""
    figures: Sequence[dict[str, str]] = ()
    table: pd.DataFrame | None = None


@dataclass
class Findings:
    """The result of a comparison.

    Attributes:
        title: what was compared.
        answer: what came out, in a sentence.
        detail: what the answer rests on.
        cautions: why it may be wrong.
        parts: the sections of the page.
        numbers: everything that was measured, for `metrics.json`.
        seconds: how long it took.
    """

    title: str
    answer: str
    detail: str = ""
    cautions: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def captioned(draw: Any, size: tuple[float, float], alt: str, caption: str, **layout: int) -> dict[str, str]:
    """Return a figure with what to see in it; see `tlkit.page_parts.figure`."""
    return figure(draw, size, alt, **layout) | {"caption": caption}


def write(found: Findings, out: Path, *, command: str, overwrite: bool = False, resume: bool = False) -> Path:
    """Write `report.html` and `metrics.json` into a folder, both or none, and return the folder.

    Args:
        command: what to type to get the same again.
        overwrite, resume: see `tlkit.outputs.prepare`.

    Raises:
        OutputError: see `tlkit.outputs.prepare`; or the disk is full.
    """
    prepare(out, overwrite, resume)
    out, about = Path(out), software()
    templates = environment()
    templates.filters["cell"] = cell
    html = templates.get_template("findings.html.jinja").render(
        found=found, command=command, versions=about["versions"]
    )
    numbers = (
        about | {"command": command, "answer": found.answer} | found.numbers | {"seconds": found.seconds}
    )
    with (
        written_whole(out),
        atomic(out / "report.html") as report,
        atomic(out / "metrics.json") as figures,
    ):
        figures.write_text(json.dumps(plain(numbers), indent=2, ensure_ascii=False, allow_nan=False), "utf-8")
        report.write_text(html, "utf-8")
    return out


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: tables as lists of rows, and None for what is not finite.

    >>> plain({"a": np.float32(0.5), "b": [np.nan, np.int64(3)]})
    {'a': 0.5, 'b': [None, 3]}
    """
    if isinstance(value, pd.DataFrame):
        return plain(value.to_dict("records"))
    if isinstance(value, dict):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def cell(value: Any) -> str:
    """Write a value for a table.

    >>> cell(0.12345), cell(12345), cell(float("nan")), cell("yes")
    ('0.123', '12,345', '–', 'yes')
    """
    if isinstance(value, bool | np.bool_ | str):
        return str(value)
    if value is None or value != value:
        return "–"
    if isinstance(value, int | np.integer) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def counted(count: int, what: str) -> str:
    """Write a number of things.

    >>> counted(1, "hint"), counted(2, "hint")
    ('1 hint', '2 hints')
    """
    return f"{count} {what}" + ("" if count == 1 else "s")
