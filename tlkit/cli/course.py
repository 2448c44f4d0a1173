"""The commands of the course: build and pack for a teacher, report for a learner."""

from pathlib import Path

import click

from tlkit.cli.shared import Names, bars, finish

CHOSEN = click.option("--lessons", "numbers", type=Names(), help="Such as 00,05.  [default: all]")
NOTEBOOKS = click.option(
    "--notebooks", type=Path, help="Folder of the solved lessons.  [default: those of tlkit]"
)


@click.group()
def course() -> None:
    """Hold the course or take it: copies of the lessons, a pack for a room without network, a card."""


@course.command()
@click.option("--out", type=Path, required=True, help="Folder for student/, teacher/ and script/.")
@CHOSEN
@NOTEBOOKS
@click.option("--overwrite", is_flag=True, help="Replace the copies of an earlier run in --out.")
def build(out: Path, numbers: tuple[str, ...] | None, notebooks: Path | None, overwrite: bool) -> None:
    """Write three copies of each solved lesson.

    The student's has an empty cell in the place of each solution; the teacher's has minutes, talking points
    and common mistakes; the script runs without Jupyter.
    """
    from tlkit.course.build import build

    written = build(out, numbers, notebooks, overwrite=overwrite)
    click.secho(f"{len(written)} files: {out / 'student'}, {out / 'teacher'}, {out / 'script'}", fg="green")


@course.command()
@click.option("--out", type=Path, required=True, help="The zip file, such as class.zip.")
@CHOSEN
@NOTEBOOKS
@click.option(
    "--without-wheels", is_flag=True, help="A few megabytes, for laptops that can reach a package index."
)
@click.option("--overwrite", is_flag=True, help="Replace an earlier pack of this name.")
def pack(
    out: Path, numbers: tuple[str, ...] | None, notebooks: Path | None, without_wheels: bool, overwrite: bool
) -> None:
    """Pack students' notebooks, packages, data and weights for laptops without network.

    The laptops need this machine's system and version of Python. Takes about a gigabyte.
    """
    from tlkit.course.pack import pack

    packed = pack(
        out,
        numbers,
        notebooks,
        wheels=not without_wheels,
        overwrite=overwrite,
        progress=bars(),
    )
    size = packed.stat().st_size / 1e6
    click.secho(f"{packed}: {size:,.0f} MB. Unpack it on a laptop, and there: python install.py", fg="green")


@course.command()
@click.option("--out", type=Path, required=True, help="Folder for report.html and metrics.json.")
@click.option("--name", default="", help="Your name, for the title.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier card in --out.")
def report(out: Path, name: str, overwrite: bool) -> None:
    """Make a card of your progress: exercises passed, hints used, predictions beside results.

    It is made from what the lessons kept on this machine; nothing is sent anywhere.
    """
    from tlkit._internal import outputs
    from tlkit.course.card import ProgressCard
    from tlkit.course.progress import events

    outputs.prepare(out, overwrite)
    card = ProgressCard(events(), name)
    click.echo(card.answer)
    finish(card, out)
