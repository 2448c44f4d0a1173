"""The lessons: where they lie, and what each says of itself."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tlkit.errors import DataError, UnknownNameError

if TYPE_CHECKING:
    import nbformat


@dataclass(frozen=True)
class Lesson:
    """One notebook of the series.

    Attributes:
        path: its file, solved and executed, such as `notebooks/05_fine_tuning.ipynb`.
    """

    path: Path

    @property
    def number(self) -> str:
        """Its place in the series, such as `"05"`."""
        return self.path.name[:2]

    @property
    def topic(self) -> str:
        """What it is about, such as `"fine tuning"`."""
        return self.path.stem[3:].replace("_", " ")

    @cached_property
    def notebook(self) -> "nbformat.NotebookNode":
        """The notebook in version 4 of the format."""
        import nbformat  # comes with Jupyter, which `tlkit doctor` may find missing

        return nbformat.read(self.path, as_version=4)

    @property
    def question(self) -> str:
        """Its title, a question."""
        found = re.match(r"# \d\d · (.+)", self.notebook.cells[0].source)
        if not found:
            raise DataError(
                f"{self.path.name} does not begin with a title such as '# 05 · Which layers should learn?'."
            )
        return found[1]

    @property
    def seconds(self) -> float:
        """How long its cells took when it was executed last, in seconds; 0 where nobody measured."""
        return float(sum(cell.metadata.get("seconds", 0) for cell in self.notebook.cells))


def folder() -> Path:
    """Return the folder of the solved lessons: that of the project, or the one inside the installed package.

    Raises:
        DataError: neither is there.
    """
    package = Path(__file__).parents[1]
    for place in (package.parent / "notebooks", package / "notebooks"):
        if any(place.glob("[0-9][0-9]_*.ipynb")):
            return place
    raise DataError("The lessons are not here. Install tlkit again, or name their folder.")


def lessons(place: Path | None = None) -> list[Lesson]:
    """Return the lessons in their order, of a folder or of `folder()`.

    >>> lessons()[0].number, lessons()[0].topic
    ('00', 'start here')

    Raises:
        DataError: the folder has none.
    """
    place = folder() if place is None else Path(place)
    found = sorted(place.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise DataError(
            f"{place} has no lesson such as 05_fine_tuning.ipynb. Name the folder of the notebooks."
        )
    return [Lesson(path) for path in found]


def lesson(number: str) -> Lesson:
    """Return one lesson by its number, such as `"05"`.

    Raises:
        UnknownNameError: there is none with this number.
    """
    known = {each.number: each for each in lessons()}
    if number not in known:
        raise UnknownNameError("lesson", number, known)
    return known[number]
