"""The command that learns without labels: pretrain."""

from pathlib import Path
from typing import Any

import click

from tlkit import outputs
from tlkit.backbones import registry
from tlkit.backbones.registry import Backbone
from tlkit.cli.shared import (
    card_size,
    image_size_for,
    interrupted,
    progress,
    show_methods,
    this_command,
    training_options,
)
from tlkit.quiet import import_keras

SMALL = 64  # pixels below which a deep network has hardly anything left in its last layers
FOLDER_SIZE = 96  # pixels: both views of a few hundred photos in seconds an epoch, on a laptop's CPU


@click.command()
@click.argument("data", required=False)
@click.option("--out", type=Path, help="Folder for backbone.keras, metrics.json, report.html.")
@click.option("--method", default="simclr", show_default=True, help="See `tlkit pretrain --list`.")
@click.option(
    "--backbone",
    help=f"See `tlkit backbones`.  [default: EfficientNetLite0, and LeNet below {SMALL} pixels]",
)
@click.option(
    "--weights", default=None, help="imagenet (default where there are any), none, or a weights file."
)
@click.option("--evaluate", help="Labelled images to judge the features by and for nothing else.")
@click.option(
    "--batch-size", type=click.IntRange(2), help="Images in a step.  [default: 64, and 128 of small images]"
)
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Largest step size of Adam.")
@click.option("--flip/--no-flip", default=None, help="Views may be mirrored.  [default: except of digits]")
@click.option(
    "--colour/--no-colour", default=None, help="Views may change in colour.  [default: except of digits]"
)
@click.option("--resume", is_flag=True, help="Go on with what was stopped in --out.")
@click.option("--list", "listed", is_flag=True, help="Explain every method in a line, and leave.")
@training_options
def pretrain(
    data: str | None,
    out: Path | None,
    method: str,
    backbone: str | None,
    weights: str | None,
    evaluate: str | None,
    listed: bool,
    image_size: int | None,
    resume: bool,
    overwrite: bool,
    **options: Any,
) -> None:
    """Train a backbone on DATA without labels: a data set's name, or a folder of images, sorted or not.

    The same command with --resume goes on where it was stopped. `tlkit train --weights` takes the result.
    """
    from tlkit.techniques.self_supervised import methods

    if listed:
        show_methods(methods.METHODS)
        return
    if data is None or out is None:
        raise click.UsageError("Give DATA and --out; or --list.")
    if resume and overwrite:
        raise click.UsageError("Give --resume to go on, or --overwrite to start anew, not both.")
    methods.find(method)
    outputs.prepare(out, overwrite, resume)
    network, size = network_for(data, backbone, image_size)
    import_keras()
    from tlkit import pretraining, report

    bars = progress()
    images, judge = read(data, evaluate, image_size=size, seed=options["seed"], progress=bars["progress"])
    click.echo(f"{data}: {len(images.train)} images without labels, {size} x {size} pixels")
    if weights is None:
        weights = "imagenet" if network.weights_file else "none"
    if overwrite:
        outputs.discard(out)
    result = pretraining.pretrain(
        images,
        method=method,
        backbone=network.name,
        weights=None if weights.lower() == "none" else weights,
        judge=judge,
        backup=out / outputs.UNFINISHED,
        **options,
        **bars,
    )
    click.echo(
        "; ".join(f"{name} {result.before[name]:.3g} to {value:.3g}" for name, value in result.after.items())
    )
    written = report.write(result, out, command=this_command(), overwrite=True)
    click.secho(f"Report: {written / 'report.html'}", fg="green")
    if result.interrupted:
        click.echo("The same command with --resume goes on.")
    interrupted(result)
    outputs.discard(out)


def network_for(data: str, backbone: str | None, image_size: int | None) -> tuple[Backbone, int]:
    """Return the backbone and the image size that were asked for, or that suit the data and a CPU."""
    known = card_size(data)
    if backbone is None:
        backbone = "LeNet" if (image_size or known or FOLDER_SIZE) < SMALL else "EfficientNetLite0"
    network = registry.find(backbone)
    if image_size is None and known is None:
        image_size = max(network.smallest_size, min(network.default_size, FOLDER_SIZE))
    return network, image_size_for(data, network, image_size)


def read(data: str, evaluate: str | None, **options: Any) -> tuple[Any, Any]:
    """Return what is learned from and what judges: of a data set its own labels, of a folder --evaluate.

    Where both are the same folder, its train split is learned from.
    """
    from tlkit.data import is_folder, load, load_unsorted

    judge = load(evaluate, **options) if evaluate else None
    if not is_folder(data):
        images = load(data, **options)
        return images, judge or (images if images.train.labelled else None)
    if evaluate and is_folder(evaluate) and Path(data).resolve() == Path(evaluate).resolve():
        return judge, judge
    return load_unsorted(data, image_size=options["image_size"], progress=options["progress"]), judge
