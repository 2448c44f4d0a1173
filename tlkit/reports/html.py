"""A document as one HTML page that needs no other file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from tlkit.reports.document import Document
from tlkit.reports.words import duration, number


def templates(folder: Path = Path(__file__).parent, *, html: bool = True) -> jinja2.Environment:
    """Return the templates of a folder.

    Args:
        folder: with files ending in `.jinja`.
        html: values are escaped for HTML.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=html,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(duration=duration, number=number)
    return environment


def render(
    document: Document,
    *,
    command: str,
    versions: Mapping[str, str],
    seconds: Mapping[str, float],
    files: Sequence[str],
) -> str:
    """Return the page of a document.

    Args:
        command: what to type to repeat the experiment; empty for none.
        versions: of the packages, by name.
        seconds: how long each part took.
        files: names of the other files in the folder.
    """
    template = templates().get_template("page.html.jinja")
    return template.render(
        document=document, command=command, versions=versions, seconds=seconds, files=files
    )
