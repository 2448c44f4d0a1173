"""The command that compares data sets: similarity."""

from pathlib import Path

import click

from tlkit import outputs
from tlkit.backbones import registry
from tlkit.cli.shared import progress, seed_option, show_methods, this_command
from tlkit.quiet import import_keras


@click.command()
@click.argument("data", nargs=-1, metavar="A B [C ...]")
@click.option("--measure", default="mmd", show_default=True, help="See `tlkit similarity --list`.")
@click.option("--backbone", default="EfficientNetLite0", show_default=True, help="See `tlkit backbones`.")
@click.option(
    "--weights", default=None, help="imagenet (default where there are any), none, or a weights file."
)
@click.option(
    "--image-size", type=click.IntRange(1), default=64, show_default=True, help="Height and width in pixels."
)
@click.option(
    "--images", type=click.IntRange(10), default=300, show_default=True, help="Of each data set, at most."
)
@seed_option()
@click.option("--out", type=Path, help="Folder for metrics.json and report.html, with every measure.")
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier run in --out.")
@click.option("--list", "listed", is_flag=True, help="Explain every measure in a line, and leave.")
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
    listed: bool,
) -> None:
    """How far apart A, B, ... are: names of data sets, or folders of images, labelled or not.

    On the diagonal of the table stands what two halves of the same data set get.
    """
    from tlkit.challenges.task_similarity import measures

    if listed:
        show_methods(measures.MEASURES)
        return
    if len(data) < 2:
        raise click.UsageError("Give at least two data sets to compare; or --list.")
    chosen = measures.find(measure).name
    network = registry.find(backbone)
    network.check_size(image_size)
    if out is not None:
        outputs.prepare(out, overwrite)
    if weights is None:
        weights = "imagenet" if network.weights_file else "none"
    import_keras()
    from tlkit.findings import similarity as page
    from tlkit.findings.page import write
    from tlkit.similarity import compare

    result = compare(
        data,
        measures=[chosen] if out is None else [each.name for each in measures.MEASURES],
        backbone=network.name,
        weights=None if weights.lower() == "none" else weights,
        image_size=image_size,
        images=images,
        seed=seed,
        progress=progress()["progress"],
    )
    found = page.findings(result, chosen)
    click.echo((result.tables[chosen].round(3) + 0.0).to_string())  # plus 0: no minus before a zero
    click.echo(found.answer)
    for caution in found.cautions:
        click.secho(f"Note: {caution}", fg="yellow", err=True)
    if out is not None:
        written = write(found, out, command=this_command(), overwrite=True)
        click.secho(f"Report: {written / 'report.html'}", fg="green")
