"""From one source three notebooks: for students, for the teacher, and a plain script."""

import itertools
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import nbformat

from tlkit._internal import outputs
from tlkit._internal.cache import atomic
from tlkit.course.copies import script, student
from tlkit.course.exercises import Mistake, all_exercises
from tlkit.course.lessons import lessons
from tlkit.course.solved import Solved, read
from tlkit.errors import UnknownNameError

WORDS_A_MINUTE = 200
TAG = "teacher"  # of the cells that only the teacher's copy has
NOTES = files("tlkit.course") / "teaching"


@dataclass
class Section:
    """A part of a lesson, and the minutes that it takes.

    Attributes:
        title: its heading.
        words: of its text and its code.
        running: minutes, as measured; 0 where nobody measured.
        practising: minutes.
        start: minutes from the beginning of the lesson.
    """

    title: str
    words: int = 0
    running: float = 0.0
    practising: float = 0.0
    start: float = 0.0

    @property
    def reading(self) -> float:
        """Minutes to read it, estimated."""
        return self.words / WORDS_A_MINUTE


def sections(lesson: Solved) -> list[Section]:
    """Return the sections of a lesson in order, the first being what stands above the first heading.

    >>> from tlkit.course.lessons import lesson
    >>> [each.title for each in sections(read(lesson("00").path))][:3]
    ['Opening', 'Is this machine ready?', 'The pictures']
    """
    found = [Section("Opening")]
    solutions = {task.solution for task in lesson.tasks}
    for index, cell in enumerate(lesson.notebook.cells):
        if cell.cell_type == "code":
            found[-1].words += 0 if index in solutions else len(cell.source.split())
            found[-1].running += cell.metadata.get("seconds", 0) / 60
            continue
        for part in re.split(r"^(?=## )", re.sub(r"!\[[^\]]*\]\([^)]*\)", "", cell.source), flags=re.M):
            if part.startswith("## "):
                found.append(Section(part.partition("\n")[0][3:].strip()))
            found[-1].words += len(part.split())
    said = re.search(r"([\d.]+)\s+min\s+to\s+practise", lesson.notebook.cells[0].source)
    for each in found:
        each.practising = float(said[1]) if said and each.title == "Exercises" else 0.0
    for before, after in itertools.pairwise(found):
        after.start = before.start + before.reading + before.running + before.practising
    return found


def notes(number: str) -> dict[str, Any]:
    """Return what there is to say to a class about a lesson; nothing where nobody wrote it down.

    >>> sorted(notes("05"))
    ['loses_time', 'questions', 'talking_points']
    """
    file = NOTES / f"{number}.toml"
    return tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}


def plan(lesson: Solved) -> str:
    """Return the teacher's page of a lesson in Markdown: minutes by section, talking points, questions."""
    rows = sections(lesson)
    total = Section(
        "all",
        words=sum(row.words for row in rows),
        running=sum(row.running for row in rows),
        practising=sum(row.practising for row in rows),
    )
    total.start = total.reading + total.running + total.practising  # where the next lesson would begin
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["minutes"] = lambda value: f"{value:.1f}" if value else "·"
    template = environment.from_string((NOTES / "plan.md.jinja").read_text("utf-8"))
    return template.render(
        rows=rows, total=total, words_a_minute=WORDS_A_MINUTE, **notes(lesson.path.name[:2])
    )


def teacher(lesson: Solved, mistakes: Mapping[str, Sequence[Mistake]]) -> nbformat.NotebookNode:
    """Return the teacher's copy: executed and solved, with a plan and the mistakes that people make.

    Args:
        lesson: solved.
        mistakes: known for each exercise, by its number.

    Without the cells tagged `teacher` it is the lesson.
    """
    notebook, number = deepcopy(lesson.notebook), lesson.path.name[:2]
    added = {0: _text(f"{number}-plan", plan(lesson))}
    for task in lesson.tasks:
        if known := mistakes.get(task.number):
            lines = [f"- *{each.what}*. They are told: {each.told}" for each in known]
            text = f"**Common mistakes in {task.number}**\n\n" + "\n".join(lines)
            added[task.solution] = _text(f"{task.number.replace('.', '-')}-mistakes", text)
    for index in sorted(added, reverse=True):
        notebook.cells.insert(index + 1, added[index])
    return notebook


def _text(identifier: str, text: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(text, id=identifier, metadata={"tags": [TAG]})


def solved_lessons(numbers: Iterable[str] | None = None, place: Path | None = None) -> list[Solved]:
    """Read and check solved lessons.

    Args:
        numbers: such as `["00", "05"]`; None takes all.
        place: folder of the notebooks; None takes those of tlkit.

    Raises:
        UnknownNameError: there is no lesson of this number.
        DataError: a notebook was edited so that it cannot be copied; or the folder has none.
    """
    known = {each.number: each.path for each in lessons(place)}
    chosen = list(known) if numbers is None else [str(each).zfill(2) for each in numbers]
    for number in chosen:
        if number not in known:
            raise UnknownNameError("lesson", number, known)
    return [read(known[number]) for number in dict.fromkeys(chosen)]


def build(
    out: Path,
    numbers: Iterable[str] | None = None,
    place: Path | None = None,
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Write the three copies of each lesson into `student`, `teacher` and `script` below a folder.

    All lessons are read before the first file is written.

    Args:
        out: the folder.
        numbers: of the lessons, such as `["00", "05"]`; None takes all.
        place: folder of the solved notebooks; None takes those of tlkit.
        overwrite: `out` may have content; files of the same names are replaced.

    Returns:
        the files.

    Raises:
        UnknownNameError: there is no lesson of this number.
        DataError: a notebook was edited so that it cannot be copied; the message names the cell.
        OutputError: `out` has content, or cannot be written to.
    """
    out = Path(out)
    chosen = solved_lessons(numbers, place)
    outputs.prepare(out, overwrite)
    mistakes = {name: each.mistakes for name, each in all_exercises().items()}
    texts = {}
    for lesson in chosen:
        name = lesson.path.name
        texts[out / "student" / name] = nbformat.writes(student(lesson)) + "\n"
        texts[out / "teacher" / name] = nbformat.writes(teacher(lesson, mistakes)) + "\n"
        texts[out / "script" / f"{lesson.path.stem}.py"] = script(lesson)
    with outputs.written_whole(out):
        for path, text in texts.items():
            path.parent.mkdir(exist_ok=True)
            with atomic(path) as temporary:
                temporary.write_text(text, "utf-8", newline="\n")
    return list(texts)
