"""A data set's card: what it is, whose it is, and what it must look like when it is loaded."""

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
    """What there is to know about a data set before it is loaded.

    `counts` has the number of images by split; `image_size` is the default in pixels; `checksum` is the
    BLAKE2b digest of the content, "" where the content is yours; `made_with` has the version of each
    package that the counts and the checksum were taken from.
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
def read(name: str) -> Card:
    """Return the card of a built-in data set, from its TOML file.

    >>> read("emoji/twemoji").licence
    'CC-BY 4.0'
    """
    installed = files("tlkit.data") / "cards"
    folder = installed if installed.is_dir() else Path(__file__).parents[2] / "data"
    text = (folder / f"{name.replace('/', '-')}.toml").read_text(encoding="utf-8")
    return Card(name=name, **tomllib.loads(text))


def checksum(parts: Iterable[bytes]) -> str:
    """Return the hex BLAKE2b digest of the parts one after another.

    >>> checksum([b"a", b"b"]) == checksum([b"ab"])
    True
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def verify(card: Card, found: str) -> None:
    """Warn when the content that was loaded is not the content that the card describes."""
    if found != card.checksum:
        versions = ", ".join(f"{package} {version}" for package, version in card.made_with.items())
        warnings.warn(
            f"The content of {card.name!r} differs from its card (checksum {found}, expected "
            f"{card.checksum}): figures may differ from the published ones. The card was made with "
            f"{versions}; install these to repeat them.",
            TlkitWarning,
            stacklevel=2,
        )
