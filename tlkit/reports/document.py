"""The document of a report: a title, an answer, and sections of text, tables, figures and images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd


@dataclass
class Text:
    """A paragraph.

    Attributes:
        text: plain text.
        style: `""`, `"soft"` (a remark) or `"caution"`.
    """

    text: str
    style: str = ""


@dataclass
class Figure:
    """A drawing.

    Attributes:
        src: a data URI.
        alt: what it shows, for those who cannot see it.
        caption: what to look for.
    """

    src: str
    alt: str
    caption: str = ""


@dataclass
class Thumbnail:
    """A small image.

    Attributes:
        src: a data URI.
        alt: what it shows.
        pixelated: it has so few pixels that they are shown as squares.
    """

    src: str
    alt: str = ""
    pixelated: bool = False


@dataclass
class Tile:
    """One or more thumbnails side by side, with lines below them.

    Attributes:
        images: the thumbnails.
        lines: text and its style, `""`, `"right"`, `"wrong"` or `"file"`.
    """

    images: Sequence[Thumbnail]
    lines: Sequence[tuple[str, str]] = ()


@dataclass
class Images:
    """A grid of tiles."""

    tiles: Sequence[Tile]


@dataclass
class Table:
    """A table; its first column names the rows.

    Attributes:
        frame: shown as it is, without its index; numbers are shown with three significant digits.
        folded: if not empty, the table is folded away under these words.
    """

    frame: pd.DataFrame
    folded: str = ""


@dataclass
class Terms:
    """Terms and what they mean here."""

    items: Mapping[str, str]


@dataclass
class Listing:
    """A list that can be folded away.

    Attributes:
        items: one line each.
        title: the words that stay when it is folded.
    """

    items: Sequence[str]
    title: str = "Their names"


@dataclass
class Code:
    """A command to copy."""

    text: str


Block = Text | Figure | Images | Table | Terms | Listing | Code


@dataclass
class Section:
    """A heading and the blocks below it."""

    title: str
    blocks: Sequence[Block] = ()


@dataclass
class Document:
    """What a report says.

    Attributes:
        title: what was done, on which data.
        answer: the result, in one sentence.
        detail: what the answer rests on.
        cautions: why it may be wrong.
        sections: in the order of the page.
    """

    title: str
    answer: str
    detail: str = ""
    cautions: list[str] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
