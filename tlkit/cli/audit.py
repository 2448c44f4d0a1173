"""The command that looks for problems of a data set: audit."""

from pathlib import Path

import click

from tlkit._internal.keras_import import import_keras
from tlkit.backbones.registry import BACKBONES
from tlkit.cli.shared import (
    Number,
    bars,
    claim,
    finish,
    image_size_option,
    overwrite_option,
    seed_option,
    weights_of,
    weights_option,
)

LEVELS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command()
@click.argument("data")
@click.option("--out", type=Path, help="Folder for metrics.json, suspects.csv and report.html with images.")
@click.option(
    "--backbone",
    default="EfficientNetLite0",
    show_default=True,
    help="A name of `tlkit backbones`, or none to skip the checks that need features.",
)
@weights_option()
@image_size_option(help="Height and width in pixels for the backbone.  [default: the backbone's own]")
@click.option("--validation", type=Number(0, 1), default=0.2, show_default=True, help="As for tlkit train.")
@click.option("--test", type=Number(0, 1), default=0.2, show_default=True, help="As for tlkit train.")
@seed_option(help="As for tlkit train.")
@overwrite_option()
def audit(
    data: str,
    out: Path | None,
    backbone: str,
    weights: str | None,
    image_size: int | None,
    validation: float,
    test: float,
    seed: int,
    overwrite: bool,
) -> None:
    """Look for problems of DATA, a folder of images or a data set, before training.

    It finds copies, leaks between the splits, one image under two labels, small classes, and unreadable or
    odd files. With a backbone, it also finds likely label errors, outliers, near duplicates and groups with a
    low accuracy. Nothing is changed. The exit code is 1 if there is an error.
    """
    row = None if backbone.lower() == "none" else BACKBONES.find(backbone)
    if row is not None and image_size is not None:
        row.check_size(image_size)
    if out is not None:
        claim(out, overwrite)
    import_keras()
    from tlkit.data import is_folder, load
    from tlkit.experiments import audit as experiment

    result = experiment.audit(
        data if is_folder(data) else load(data, seed=seed),
        backbone=None if row is None else row.name,
        weights=None if row is None else weights_of(weights, row),
        image_size=image_size,
        validation=validation,
        test=test,
        seed=seed,
        progress=bars(),
    )
    click.echo(f"{result.title}: {len(result.images)} images of {len(result.classes)} classes")
    for each in result.problems:
        click.secho(f"{each.level}: ", fg=LEVELS[each.level], bold=True, nl=False)
        click.echo(f"{each.name} ({each.count}). {each.why} {each.remedy}")
        for example in each.examples[:3]:
            click.echo(f"    {example}")
    click.secho(result.answer, bold=True)
    for caution in result.cautions:
        click.secho(f"Note: {caution}", fg="yellow", err=True)
    finish(result, out)
    if result.errors:
        raise SystemExit(1)
