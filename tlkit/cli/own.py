"""The commands for your own images: audit, card, export, serve."""

import time
from pathlib import Path

import click

from tlkit import outputs
from tlkit.cli.shared import progress, this_command
from tlkit.quiet import import_keras

LEVELS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command()
@click.argument("data")
@click.option("--out", type=Path, help="Folder for metrics.json and report.html, with pictures of the pairs.")
@click.option(
    "--validation", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="As for tlkit train."
)
@click.option(
    "--test", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="As for tlkit train."
)
@click.option("--seed", type=int, default=0, show_default=True, help="As for tlkit train.")
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier run in --out.")
def audit(data: str, out: Path | None, validation: float, test: float, seed: int, overwrite: bool) -> None:
    """Look for what is wrong with DATA, a folder of images, before training.

    Copies, leaks between the splits, one picture under two labels, small classes, unreadable and odd files.
    Nothing is changed. Leaves with 1 where an error was found.
    """
    if out is not None:
        outputs.prepare(out, overwrite)
    import_keras()
    from tlkit.auditing import audit
    from tlkit.data import is_folder, load
    from tlkit.findings import audit as page
    from tlkit.findings.page import write

    start = time.perf_counter()
    given = data if is_folder(data) else load(data)
    shares = {"validation": validation, "test": test}
    seen = audit(given, **shares, seed=seed, progress=progress()["progress"])
    found = page.findings(seen, seconds=time.perf_counter() - start)
    click.echo(f"{seen.title}: {len(seen.images)} images of {len(seen.classes)} classes")
    for each in seen.problems:
        click.secho(f"{each.level}: ", fg=LEVELS[each.level], bold=True, nl=False)
        click.echo(f"{each.name} ({each.count}). {each.why} {each.remedy}")
        for example in each.examples[:3]:
            click.echo(f"    {example}")
    click.secho(found.answer, bold=True)
    if out is not None:
        written = write(found, out, command=this_command(), overwrite=True)
        click.secho(f"Report: {written / 'report.html'}", fg="green")
    if seen.errors:
        raise SystemExit(1)
