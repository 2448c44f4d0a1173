"""Find the lessons and read their titles and running times."""

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
    """One lesson of the course: a notebook.

    Attributes:
        path: of the notebook, solved and executed, such as `notebooks/02_fine_tuning.ipynb`.
    """

    path: Path

    @property
    def number(self) -> str:
        """The number of the lesson, such as `"02"`."""
        return self.path.name[:2]

    @property
    def topic(self) -> str:
        """The topic of the lesson, such as `"fine tuning"`."""
        return self.path.stem[3:].replace("_", " ")

    @cached_property
    def notebook(self) -> "nbformat.NotebookNode":
        """The notebook in version 4 of the format."""
        import nbformat  # comes with Jupyter, which `tlkit doctor` may find missing

        return nbformat.read(self.path, as_version=4)

    @property
    def question(self) -> str:
        """The question that the lesson answers, which is its title.

        Raises:
            DataError: the notebook does not begin with a title.
        """
        found = re.match(r"# \d\d · (.+)", self.notebook.cells[0].source)
        if not found:
            raise DataError(
                f"{self.path.name} does not begin with a title such as '# 02 · Which layers should learn?'."
            )
        return found[1]

    @property
    def seconds(self) -> float:
        """The running time of its cells in seconds when it was last executed; 0 if it was not measured."""
        return float(sum(cell.metadata.get("seconds", 0) for cell in self.notebook.cells))


def lessons_folder() -> Path:
    """Return the folder of the solved lessons: in the project, or else in the installed package.

    Raises:
        DataError: neither folder has lessons.
    """
    package = Path(__file__).parents[1]
    for folder in (package.parent / "notebooks", package / "notebooks"):
        if any(folder.glob("[0-9][0-9]_*.ipynb")):
            return folder
    raise DataError(
        "The lessons are not installed. Install tlkit again, or pass the folder of the notebooks."
    )


def lessons(notebooks: Path | None = None) -> list[Lesson]:
    """Return the lessons of the course, in order.

    Args:
        notebooks: folder of the notebooks; None takes `lessons_folder()`.

    Raises:
        DataError: the folder has no lessons.

    >>> lessons()[0].number, lessons()[0].topic
    ('00', 'start here')
    """
    folder = lessons_folder() if notebooks is None else Path(notebooks)
    found = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        raise DataError(
            f"{folder} has no lesson such as 02_fine_tuning.ipynb. Pass the folder of the notebooks."
        )
    return [Lesson(path) for path in found]


def lesson(number: str) -> Lesson:
    """Return the lesson with a number such as `"02"`.

    Raises:
        UnknownNameError: there is no lesson with this number.
    """
    known = {each.number: each for each in lessons()}
    if number not in known:
        raise UnknownNameError("lesson", number, known)
    return known[number]
