"""The command that looks for problems of a data set: audit."""

from pathlib import Path

import click

from tlkit._internal import outputs
from tlkit._internal.keras_import import import_keras
from tlkit.cli.shared import bars, finish, overwrite_option, seed_option

LEVELS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command()
@click.argument("data")
@click.option("--out", type=Path, help="Folder for metrics.json and report.html, with images of the pairs.")
@click.option(
    "--validation", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="As for tlkit train."
)
@click.option(
    "--test", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="As for tlkit train."
)
@seed_option(help="As for tlkit train.")
@overwrite_option()
def audit(data: str, out: Path | None, validation: float, test: float, seed: int, overwrite: bool) -> None:
    """Look for problems of DATA, a folder of images, before training.

    Copies, leaks between the splits, one image under two labels, small classes, unreadable and odd files.
    Nothing is changed. The exit code is 1 if there is an error.
    """
    if out is not None:
        outputs.prepare(out, overwrite)
    import_keras()
    from tlkit.data import is_folder, load
    from tlkit.experiments import audit as experiment

    images = data if is_folder(data) else load(data)
    result = experiment.audit(images, validation=validation, test=test, seed=seed, progress=bars())
    click.echo(f"{result.title}: {len(result.images)} images of {len(result.classes)} classes")
    for each in result.problems:
        click.secho(f"{each.level}: ", fg=LEVELS[each.level], bold=True, nl=False)
        click.echo(f"{each.name} ({each.count}). {each.why} {each.remedy}")
        for example in each.examples[:3]:
            click.echo(f"    {example}")
    click.secho(result.answer, bold=True)
    finish(result, out)
    if result.errors:
        raise SystemExit(1)
