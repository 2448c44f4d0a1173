"""The commands that train a classifier: demo, train."""

import os
from pathlib import Path
from typing import Any

import click

from tlkit._internal import outputs
from tlkit._internal.keras_import import import_keras
from tlkit.cli.shared import (
    backbone_and_size,
    backbone_option,
    bars,
    finish,
    list_option,
    split_options,
    training_options,
    verbosity,
    weights_of,
    weights_option,
)
from tlkit.techniques import TECHNIQUES


@click.command()
@click.option("--out", type=Path, default=Path("runs/demo"), show_default=True)
@training_options
def demo(out: Path, image_size: int | None, epochs: int | None, seed: int, overwrite: bool) -> None:
    """Classify emoji with EfficientNetLite0: frozen, fine-tuned and from scratch, in one report."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    outputs.prepare(out, overwrite)
    settings = {"image_size": image_size or 112, "epochs": epochs or 6, "seed": seed}
    # TensorFlow builds a graph on one core: the control takes the other, and leaves a GPU alone
    cpu = ("CUDA_VISIBLE_DEVICES", "-1")
    with ProcessPoolExecutor(1, get_context("spawn"), os.putenv, cpu) as beside:
        control = beside.submit(trained, "scratch", **settings)
        frozen, tuned = trained("feature-extraction", **settings), trained("fine-tuning", **settings)
        scratch = control.result()
    for each in (frozen, tuned, scratch):
        click.echo(f"{each.technique:<18} {outcome(each)}")
    tuned.others = [frozen, scratch]
    finish(tuned, out)


def trained(technique: str, image_size: int, epochs: int, seed: int) -> Any:
    """Train one arm of the demo."""
    import_keras()
    from tlkit.callbacks import EpochLines
    from tlkit.data import load
    from tlkit.experiments.train import train

    data = load("emoji", image_size=image_size)
    frozen = technique == "feature-extraction"
    if frozen:
        click.echo(data)
    return train(
        data,
        technique=technique,
        epochs=None if frozen else epochs,
        seed=seed,
        callbacks=[EpochLines(technique)],
    )


@click.command()
@click.argument("data")
@click.option("--out", type=Path, required=True, help="Folder for model.keras, metrics.json, report.html.")
@click.option(
    "--technique",
    type=click.Choice(["auto", *TECHNIQUES.names]),
    default="auto",
    show_default=True,
    help="auto: solve a head on frozen features, then fine-tune if held-out labels say that it pays.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0),
    default=5.0,
    show_default=True,
    help="Time for fine-tuning, or for a training from scratch.",
)
@backbone_option()
@weights_option()
@split_options
@list_option("techniques.TECHNIQUES")
@training_options
def train(
    data: str,
    out: Path,
    technique: str,
    backbone: str,
    weights: str | None,
    validation: float,
    test: float,
    image_size: int | None,
    epochs: int | None,
    minutes: float,
    seed: int,
    overwrite: bool,
) -> None:
    """Train a classifier on DATA, the name of a data set or a folder of images.

    A folder has one sub-folder for each class. For several labels per image see `tlkit train-tasks`.
    """
    outputs.prepare(out, overwrite)
    network, size = backbone_and_size(data, backbone, image_size)
    import_keras()
    from tlkit.data import load
    from tlkit.experiments import train as experiment
    from tlkit.reports.choice import reason

    body = start_of(network.name, technique, weights_of(weights, network), size, seed)
    images = load(data, image_size=size, validation=validation, test=test, seed=seed, progress=bars())
    click.echo(images)
    result = experiment.train(
        images,
        technique=technique,
        backbone=body,
        epochs=epochs,
        minutes=minutes,
        seed=seed,
        verbose=verbosity(),
    )
    for each in result.others:
        click.echo(f"{each.technique}: {outcome(each)}")
    click.echo(f"{result.technique}: {outcome(result)}" if result.others else outcome(result))
    if result.tuning is not None:
        click.echo(reason(result.tuning))
    finish(result, out)


def start_of(name: str, technique: str, weights: str | None, image_size: int, seed: int) -> Any:
    """Return the backbone to train, loaded before the data so that missing weights fail early."""
    from tlkit._internal.seeds import set_seed
    from tlkit.backbones import load_backbone

    set_seed(seed)  # of random weights
    scratch = technique == "scratch"
    return name if scratch else load_backbone(name, weights=weights, image_size=image_size)


def outcome(result: Any) -> str:
    """Say in one line how accurate a classifier is and how long it took."""
    accuracies = ", ".join(f"{name} {result.accuracy(name):.1%}" for name in result.probabilities)
    said = f"accuracy: {accuracies}; {result.seconds['total']:.0f} s"
    if result.headline == "accuracy" or result.evaluated is None:
        return said
    found = result.metrics()["measures"][result.headline]
    interval = f"95 % interval {found['low']:.1%} to {found['high']:.1%}"
    return f"balanced accuracy: {result.evaluated} {found['value']:.1%}, {interval}\n{said}"
