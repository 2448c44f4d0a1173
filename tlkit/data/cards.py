"""Cards of data sets: description, licence, source and checksum."""

import hashlib
import tomllib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

from tlkit.errors import TlkitWarning


@dataclass(frozen=True)
class Card:
    """The description of a data set, which can be read without loading the images.

    Attributes:
        name: the name that `load` takes.
        title: for headings.
        description: what the images show.
        licence: the terms of use.
        source: where the images come from.
        citation: the reference to cite.
        classes: the class names, in the order of the labels.
        counts: the number of images by split.
        image_size: the default height and width in pixels.
        checksum: the BLAKE2b digest of the content, or of the file names of a data set that is downloaded; ""
            for your own images.
        made_with: the package versions that the counts and the checksum belong to.
    """

    name: str
    title: str
    description: str
    licence: str
    source: str
    citation: str
    classes: list[str]
    counts: dict[str, int]
    image_size: int
    checksum: str = ""
    made_with: dict[str, str] = field(default_factory=dict)


@cache
def read_card(name: str) -> Card:
    """Read the card of a built-in data set from its TOML file.

    >>> read_card("emoji/twemoji").licence
    'CC-BY 4.0'
    """
    installed = files("tlkit.data") / "cards"
    folder = installed if installed.is_dir() else Path(__file__).parents[2] / "data"
    text = (folder / f"{name.replace('/', '-')}.toml").read_text(encoding="utf-8")
    return Card(name=name, **tomllib.loads(text))


def checksum(parts: Iterable[bytes]) -> str:
    """Return the BLAKE2b digest of the concatenated parts, as hexadecimal digits.

    >>> checksum([b"a", b"b"]) == checksum([b"ab"])
    True
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def verify(card: Card, found: str) -> None:
    """Warn if the checksum of the loaded content differs from the card's."""
    if found != card.checksum:
        versions = ", ".join(f"{package} {version}" for package, version in card.made_with.items())
        warnings.warn(
            f"The content of {card.name!r} differs from its card (checksum {found}, expected "
            f"{card.checksum}): results may differ from the published ones. The card was made with "
            f"{versions}; install these versions to reproduce them.",
            TlkitWarning,
            stacklevel=2,
        )
