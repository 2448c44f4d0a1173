"""The command that learns without labels: pretrain."""

from pathlib import Path
from typing import Any

import click

from tlkit._internal.keras_import import import_keras
from tlkit.backbones.registry import Backbone
from tlkit.cli.shared import (
    Number,
    backbone_and_size,
    bars,
    card_size,
    claim,
    finish,
    list_option,
    resume_option,
    state_in,
    training_options,
    verbosity,
    weights_of,
    weights_option,
)
from tlkit.techniques.self_supervised.methods import METHODS

SMALL = 64  # pixels below which a deep network has hardly anything left in its last layers
FOLDER_SIZE = 96  # pixels: both views of a few hundred photos in seconds per epoch, on a laptop's CPU


@click.command()
@click.argument("data")
@click.option("--out", type=Path, required=True, help="Folder for backbone.keras, metrics.json, report.html.")
@click.option("--method", default="simclr", show_default=True, help="See `tlkit pretrain --list`.")
@click.option(
    "--backbone",
    help=f"See `tlkit backbones`.  [default: EfficientNetLite0, and LeNet below {SMALL} pixels]",
)
@weights_option()
@click.option("--evaluate", help="Labelled images, used for evaluation alone.")
@click.option(
    "--batch-size", type=click.IntRange(2), help="Images in a step.  [default: 64, and 128 of small images]"
)
@click.option("--learning-rate", type=Number(0, min_open=True), help="Largest learning rate of Adam.")
@click.option("--flip/--no-flip", default=None, help="Views may be mirrored.  [default: except of digits]")
@click.option(
    "--colour/--no-colour", default=None, help="Views may change in colour.  [default: except of digits]"
)
@resume_option()
@list_option("techniques.self_supervised.methods.METHODS")
@training_options
def pretrain(
    data: str,
    out: Path,
    method: str,
    backbone: str | None,
    weights: str | None,
    evaluate: str | None,
    flip: bool | None,
    colour: bool | None,
    image_size: int | None,
    resume: bool,
    overwrite: bool,
    **options: Any,
) -> None:
    """Train a backbone on DATA without labels: the name of a data set, or a folder of images.

    The same command with --resume continues an interrupted run. `tlkit train --weights` takes the result.
    """
    METHODS.find(method)
    claim(out, overwrite, resume)
    network, size = network_for(data, backbone, image_size)
    import_keras()
    from tlkit.experiments import pretrain as experiment

    images, evaluation = read_images(data, evaluate, image_size=size, seed=options["seed"], progress=bars())
    click.echo(f"{data}: {len(images.train)} images without labels, {size} x {size} pixels")
    result = experiment.pretrain(
        images,
        method=experiment.objective_for(images, method, flip=flip, colour=colour),
        backbone=network.name,
        weights=weights_of(weights, network),
        evaluate=evaluation,
        backup=state_in(out, overwrite, network),
        verbose=verbosity(),
        **options,
    )
    click.echo(
        "; ".join(f"{name} {result.before[name]:.3g} to {value:.3g}" for name, value in result.after.items())
    )
    finish(result, out)


def network_for(data: str, backbone: str | None, image_size: int | None) -> tuple[Backbone, int]:
    """Return the backbone and the image size that were asked for, or that suit the data and a CPU."""
    known = card_size(data)
    if backbone is None:
        backbone = "LeNet" if (image_size or known or FOLDER_SIZE) < SMALL else "EfficientNetLite0"
    if image_size is None and known is None:
        network, _ = backbone_and_size(data, backbone, None)
        image_size = max(network.smallest_size, min(network.default_size, FOLDER_SIZE))
    return backbone_and_size(data, backbone, image_size)


def read_images(data: str, evaluate: str | None, **options: Any) -> tuple[Any, Any]:
    """Return the images to learn from and those to evaluate on.

    A data set is evaluated on its own labels, a folder on those of --evaluate. If both are the same folder,
    the network learns from its train split.
    """
    from tlkit.data import is_folder, load, load_unsorted

    evaluation = load(evaluate, **options) if evaluate else None
    if not is_folder(data):
        images = load(data, **options)
        return images, evaluation or (images if images.train.labelled else None)
    if evaluate and is_folder(evaluate) and Path(data).resolve() == Path(evaluate).resolve():
        return evaluation, evaluation
    unsorted = load_unsorted(data, image_size=options["image_size"], progress=options["progress"])
    return unsorted, evaluation
