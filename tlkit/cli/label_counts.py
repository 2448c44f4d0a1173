"""The command that measures accuracy against the number of labels: label-counts."""

from pathlib import Path

import click

from tlkit._internal.keras_import import import_keras
from tlkit.cli.shared import (
    Number,
    Numbers,
    backbone_and_size,
    backbone_option,
    bars,
    claim,
    finish,
    image_size_option,
    list_option,
    overwrite_option,
    resume_option,
    state_in,
    weights_of,
    weights_option,
)
from tlkit.techniques import TECHNIQUES

TABLE = "results.csv"


@click.command("label-counts")
@click.argument("data")
@click.option("--out", type=Path, required=True, help="Folder for results.csv, metrics.json, report.html.")
@click.option(
    "--technique", "techniques", multiple=True, type=click.Choice(TECHNIQUES.names), help="[default: all]"
)
@backbone_option()
@weights_option()
@click.option("--sizes", type=Numbers(), help="Numbers of labels.  [default: six, from two per class to all]")
@click.option(
    "--seeds", type=click.IntRange(1, 1000), default=3, show_default=True, help="Trainings of each size."
)
@click.option(
    "--target-accuracy",
    type=Number(0, 1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="How many labels does this accuracy need?",
)
@click.option(
    "--steps",
    type=click.IntRange(1, 1_000_000),
    help="Of a training, at least.  [default: 100, and 400 of a small network]",
)
@image_size_option()
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: as cores and memory allow]")
@resume_option()
@overwrite_option()
@list_option("techniques.TECHNIQUES")
def label_counts(
    data: str,
    out: Path,
    techniques: tuple[str, ...],
    backbone: str,
    weights: str | None,
    sizes: tuple[int, ...] | None,
    seeds: int,
    target_accuracy: float,
    steps: int | None,
    image_size: int | None,
    workers: int | None,
    resume: bool,
    overwrite: bool,
) -> None:
    """Measure the accuracy on DATA against the number of labels, and forecast how many more are needed.

    DATA is the name of a data set, or a folder with one sub-folder for each class.
    """
    network, size = backbone_and_size(data, backbone, image_size)
    claim(out, overwrite, resume)
    import_keras()
    from tlkit.data import load
    from tlkit.experiments import label_counts as experiment
    from tlkit.experiments.phases import saved_state

    images = load(data, image_size=size, progress=bars())
    click.echo(images)
    chosen = weights_of(weights, network)
    asked = {"backbone": network.name, "weights": chosen, "image size": size, "steps": steps}
    state = saved_state(state_in(out, overwrite, network), asked, data=images)
    result = experiment.label_counts(
        images,
        backbone=network.name,
        weights=chosen,
        techniques=techniques or None,
        sizes=sizes,
        seeds=range(seeds),
        steps=steps,
        target_accuracy=target_accuracy,
        keep=None if state is None else state.folder / TABLE,
        workers=workers,
        progress=True,
    )
    click.echo(result.answer)
    finish(result, out)
