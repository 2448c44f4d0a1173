"""The command that compares data sets: similarity."""

from pathlib import Path

import click

from tlkit._internal.keras_import import import_keras
from tlkit._internal.sizes import MAX_IMAGE_SIZE
from tlkit.challenges.task_similarity.measures import MEASURES
from tlkit.cli.shared import (
    backbone_and_size,
    backbone_option,
    bars,
    claim,
    finish,
    list_option,
    overwrite_option,
    seed_option,
    weights_of,
    weights_option,
)


@click.command()
@click.argument("data", nargs=-1, metavar="A B [C ...]")
@click.option("--measure", default="mmd", show_default=True, help="See `tlkit similarity --list`.")
@backbone_option()
@weights_option()
@click.option(
    "--image-size",
    type=click.IntRange(1, MAX_IMAGE_SIZE),
    default=64,
    show_default=True,
    help="Height and width in pixels.",
)
@click.option(
    "--images", type=click.IntRange(10), default=300, show_default=True, help="Of each data set, at most."
)
@seed_option()
@click.option("--out", type=Path, help="Folder for metrics.json and report.html, with every measure.")
@overwrite_option()
@list_option("challenges.task_similarity.measures.MEASURES")
def similarity(
    data: tuple[str, ...],
    measure: str,
    backbone: str,
    weights: str | None,
    image_size: int,
    images: int,
    seed: int,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Measure how far apart A, B, ... are: names of data sets, or folders of images, labelled or not.

    The diagonal of the table is the distance of two halves of the same data set.
    """
    if len(data) < 2:
        raise click.UsageError("Give at least two data sets to compare.")
    chosen = MEASURES.find(measure).name
    network, size = backbone_and_size(data[0], backbone, image_size)
    if out is not None:
        claim(out, overwrite)
    import_keras()
    from tlkit.experiments import similarity as experiment

    others = [] if out is None else [name for name in MEASURES.names if name != chosen]
    result = experiment.similarity(
        data,
        measures=[chosen, *others],
        backbone=network.name,
        weights=weights_of(weights, network),
        image_size=size,
        images=images,
        seed=seed,
        progress=bars(),
    )
    click.echo((result.tables[chosen].round(3) + 0.0).to_string())  # plus 0: no minus before a zero
    click.echo(result.answer)
    for caution in result.cautions:
        click.secho(f"Note: {caution}", fg="yellow", err=True)
    finish(result, out)
