"""The commands of the course: build and pack for teachers, report for learners."""

from pathlib import Path

import click

from tlkit._internal.keras_import import import_keras
from tlkit.cli.shared import Names, bars, claim, finish

LESSONS = click.option("--lessons", "numbers", type=Names(), help="Numbers, such as 00,05.  [default: all]")
NOTEBOOKS = click.option(
    "--notebooks", type=Path, help="Folder of the solved lessons.  [default: those of tlkit]"
)


@click.group()
def course() -> None:
    """Teach or take the course: copies of the lessons, a class pack, a progress report."""


@course.command()
@click.option("--out", type=Path, required=True, help="Folder for student/, teacher/ and script/.")
@LESSONS
@NOTEBOOKS
@click.option("--overwrite", is_flag=True, help="Replace the copies of an earlier run in --out.")
def build(out: Path, numbers: tuple[str, ...] | None, notebooks: Path | None, overwrite: bool) -> None:
    """Write three copies of each solved lesson.

    The student's copy has an empty cell in place of each solution. The teacher's copy adds timings, talking
    points and common mistakes. The script runs without Jupyter.
    """
    from tlkit.course.build import build

    written = build(out, numbers, notebooks, overwrite=overwrite)
    click.secho(f"{len(written)} files: {out / 'student'}, {out / 'teacher'}, {out / 'script'}", fg="green")


@course.command()
@click.option("--out", type=Path, required=True, help="The zip file, such as class.zip.")
@LESSONS
@NOTEBOOKS
@click.option("--data", type=Names(), help="Downloaded data sets to take along: clothing.")
@click.option("--commercial", is_flag=True, help="Leave out solar, which commercial courses must not use.")
@click.option(
    "--without-wheels", is_flag=True, help="Only a few megabytes, for laptops that can reach a package index."
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier pack of this name.")
def pack(
    out: Path,
    numbers: tuple[str, ...] | None,
    notebooks: Path | None,
    data: tuple[str, ...] | None,
    commercial: bool,
    without_wheels: bool,
    overwrite: bool,
) -> None:
    """Pack students' notebooks, packages, data and weights for laptops without a network.

    The laptops need the system and the version of Python of this machine. A pack takes about a gigabyte.
    """
    from tlkit.course.pack import pack

    packed = pack(
        out,
        numbers,
        notebooks,
        data=data or (),
        wheels=not without_wheels,
        commercial=commercial,
        overwrite=overwrite,
        progress=bars(),
    )
    size = packed.stat().st_size / 1e6
    click.secho(f"{packed}: {size:,.0f} MB. Unpack it on a laptop, then run: python install.py", fg="green")


@course.command()
@click.option("--out", type=Path, required=True, help="Folder for report.html and metrics.json.")
@click.option("--name", default="", help="Your name, for the title.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier report in --out.")
def report(out: Path, name: str, overwrite: bool) -> None:
    """Report your progress: exercises passed, hints used, and predictions compared with results.

    The lessons record your progress on this machine only; nothing is sent anywhere.
    """
    claim(out, overwrite)
    import_keras()
    from tlkit.course.card import ProgressCard
    from tlkit.course.progress import events

    card = ProgressCard(events(), name)
    click.echo(card.answer)
    finish(card, out)
