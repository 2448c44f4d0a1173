"""Build three copies of each solved lesson: a student's notebook, a teacher's notebook and a script."""

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
from tlkit.course.solved import SolvedLesson, read_solved
from tlkit.errors import UnknownNameError

WORDS_PER_MINUTE = 200
TAG = "teacher"  # of the cells that only the teacher's copy has
NOTES = files("tlkit.course") / "teaching"


@dataclass
class LessonSection:
    """A section of a lesson, and how many minutes it takes.

    Attributes:
        title: its heading.
        words: number of words in its text and code.
        running: minutes that its code ran when the lesson was executed; 0 if that was not measured.
        practising: minutes for the exercises.
        start: minutes from the beginning of the lesson to the beginning of the section.
    """

    title: str
    words: int = 0
    running: float = 0.0
    practising: float = 0.0
    start: float = 0.0

    @property
    def reading(self) -> float:
        """Estimated minutes to read the section."""
        return self.words / WORDS_PER_MINUTE


def sections(lesson: SolvedLesson) -> list[LessonSection]:
    """Return the sections of a lesson in order; the first one is the text above the first heading.

    >>> from tlkit.course.lessons import lesson
    >>> [each.title for each in sections(read_solved(lesson("00").path))][:2]
    ['Opening', 'The first minute']
    """
    found = [LessonSection("Opening")]
    solutions = {each.solution for each in lesson.exercises}
    for index, cell in enumerate(lesson.notebook.cells):
        if cell.cell_type == "code":
            found[-1].words += 0 if index in solutions else len(cell.source.split())
            found[-1].running += cell.metadata.get("seconds", 0) / 60
            continue
        for part in re.split(r"^(?=## )", re.sub(r"!\[[^\]]*\]\([^)]*\)", "", cell.source), flags=re.M):
            if part.startswith("## "):
                found.append(LessonSection(part.partition("\n")[0][3:].strip()))
            found[-1].words += len(part.split())
    stated = re.search(r"([\d.]+)\s+min\s+to\s+practise", lesson.notebook.cells[0].source)
    for each in found:
        each.practising = float(stated[1]) if stated and each.title == "Exercises" else 0.0
    for before, after in itertools.pairwise(found):
        after.start = before.start + before.reading + before.running + before.practising
    return found


def notes(number: str) -> dict[str, Any]:
    """Return the teaching notes of a lesson by topic, or an empty dictionary if it has none.

    >>> sorted(notes("02"))
    ['loses_time', 'questions', 'talking_points']
    """
    file = NOTES / f"{number}.toml"
    return tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}


def plan(lesson: SolvedLesson) -> str:
    """Return the teacher's plan of a lesson in Markdown: timings, talking points and questions."""
    rows = sections(lesson)
    total = LessonSection(
        "all",
        words=sum(row.words for row in rows),
        running=sum(row.running for row in rows),
        practising=sum(row.practising for row in rows),
    )
    total.start = total.reading + total.running + total.practising  # the end of the lesson
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["minutes"] = lambda value: f"{value:.1f}" if value else "·"
    template = environment.from_string((NOTES / "plan.md.jinja").read_text("utf-8"))
    return template.render(
        rows=rows, total=total, words_a_minute=WORDS_PER_MINUTE, **notes(lesson.path.name[:2])
    )


def teacher(lesson: SolvedLesson, mistakes: Mapping[str, Sequence[Mistake]]) -> nbformat.NotebookNode:
    """Return the teacher's copy: the executed and solved lesson, with a plan and common mistakes.

    Every cell that is added has the tag `teacher`; the other cells are those of the lesson.

    Args:
        lesson: the solved lesson.
        mistakes: the known mistakes of each exercise, by its number.
    """
    notebook, number = deepcopy(lesson.notebook), lesson.path.name[:2]
    added = {0: _text(f"{number}-plan", plan(lesson))}
    for exercise in lesson.exercises:
        if known := mistakes.get(exercise.number):
            lines = [f"- *{each.what}*. The learner reads: {each.told}" for each in known]
            text = f"**Common mistakes in {exercise.number}**\n\n" + "\n".join(lines)
            added[exercise.solution] = _text(f"{exercise.number.replace('.', '-')}-mistakes", text)
    for index in sorted(added, reverse=True):
        notebook.cells.insert(index + 1, added[index])
    return notebook


def _text(identifier: str, text: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(text, id=identifier, metadata={"tags": [TAG]})


def solved_lessons(numbers: Iterable[str] | None = None, notebooks: Path | None = None) -> list[SolvedLesson]:
    """Read and check solved lessons.

    Args:
        numbers: of the lessons, such as `["00", "02"]`; None reads all lessons.
        notebooks: folder of the solved notebooks; None reads those of tlkit.

    Raises:
        UnknownNameError: there is no lesson with this number.
        DataError: the folder has no lessons, or a notebook was edited so that it cannot be copied.
    """
    known = {each.number: each.path for each in lessons(notebooks)}
    chosen = list(known) if numbers is None else [str(each).zfill(2) for each in numbers]
    for number in chosen:
        if number not in known:
            raise UnknownNameError("lesson", number, known)
    return [read_solved(known[number]) for number in dict.fromkeys(chosen)]


def build(
    out: Path,
    numbers: Iterable[str] | None = None,
    notebooks: Path | None = None,
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Write three copies of each lesson into the sub-folders `student`, `teacher` and `script` of a folder.

    All lessons are read before the first file is written.

    Args:
        out: the folder to write to.
        numbers: of the lessons, such as `["00", "02"]`; None copies all lessons.
        notebooks: folder of the solved notebooks; None copies those of tlkit.
        overwrite: allow `out` to have content; files with the same names are replaced.

    Returns:
        The paths of the written files.

    Raises:
        UnknownNameError: there is no lesson with this number.
        DataError: the folder has no lessons, or a notebook was edited so that it cannot be copied; the
            message names the cell.
        OutputError: `out` has content, or cannot be written to.
    """
    out = Path(out)
    chosen = solved_lessons(numbers, notebooks)
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
