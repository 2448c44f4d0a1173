"""The commands that train a classifier: demo, train."""

import os
from pathlib import Path
from typing import Any

import click

from tlkit._internal.keras_import import import_keras
from tlkit.backbones.registry import BACKBONES
from tlkit.cli.shared import (
    Number,
    backbone_and_size,
    backbone_option,
    bars,
    claim,
    finish,
    list_option,
    resume_option,
    split_options,
    state_in,
    training_options,
    verbosity,
    weights_of,
    weights_option,
)
from tlkit.techniques import TECHNIQUES

DEMO_EPOCHS = 8


@click.command()
@click.option("--data", default="solar", show_default=True, help="A data set or a folder of images.")
@click.option(
    "--labels",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Training images per class, at most.",
)
@click.option("--out", type=Path, default=Path("runs/demo"), show_default=True)
@resume_option()
@training_options
def demo(
    data: str,
    labels: int,
    out: Path,
    image_size: int | None,
    epochs: int | None,
    seed: int,
    resume: bool,
    overwrite: bool,
) -> None:
    """Compare frozen, fine-tuned and from-scratch networks on photos of solar cells with few labels.

    The pretrained network learns to find defective cells from 100 labelled photos per class. The report also
    shows right and wrong predictions, and the image regions that influence them.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from tlkit._internal.state import SavedState

    claim(out, overwrite, resume)
    settings: dict[str, Any] = {
        "data": data,
        "labels": labels,
        "image_size": image_size or 112,
        "epochs": epochs or DEMO_EPOCHS,
        "seed": seed,
    }
    state = settings | {"state": state_in(out, overwrite, BACKBONES.find("EfficientNetLite0"))}
    SavedState(state["state"], settings)  # or an error, if it is that of a run with other settings
    # TensorFlow builds a graph on one core: the control takes the other
    with ProcessPoolExecutor(1, get_context("spawn"), beside, (os.getpid(),)) as pool:
        control = pool.submit(trained, "scratch", **state)
        tuned = trained("fine-tuning", **state)
        scratch = control.result()
    for each in (*tuned.others, tuned, scratch):
        click.echo(f"{each.technique:<18} {outcome(each)}")
    if tuned.tuning is not None:
        click.echo(reason(tuned.tuning))
    tuned.others = [*tuned.others, scratch]
    tuned.interrupted = tuned.interrupted or scratch.interrupted
    finish(tuned, out)


def beside(parent: int) -> None:
    """Prepare a process that runs beside another one: it ends with that one, and leaves a GPU to it."""
    from tlkit.experiments.worker import end_with

    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    end_with(parent)


def trained(
    technique: str, data: str, labels: int, image_size: int, epochs: int, seed: int, state: Path
) -> Any:
    """Train one arm of the demo on some of the labels; its state is saved in a folder within `state`."""
    from dataclasses import replace

    import numpy as np

    import_keras()
    from tlkit.data import load
    from tlkit.experiments.train import train

    loaded = load(data, image_size=image_size, validation=0.2, test=0.4, seed=seed)
    few = min(labels, int(np.bincount(loaded.train.labels).min()))
    part = replace(loaded, train=loaded.train.few(few, seed=seed), validation=None)
    scratch = technique == "scratch"
    if not scratch:
        click.echo(part)
    # the control makes as many steps as the fine-tuning on all labels, in batches of the same size
    options: dict[str, Any] = {"batch_size": 16} if scratch else {"folds": 2}
    return train(
        part,
        technique=technique,
        epochs=epochs,
        minutes=None,
        seed=seed,
        verbose=0 if scratch else verbosity(),
        backup=state / technique,
        **options,
    )


@click.command()
@click.argument("data")
@click.option("--out", type=Path, required=True, help="Folder for model.keras, predictions.csv, report.html.")
@click.option(
    "--technique",
    type=click.Choice(["auto", *TECHNIQUES.names]),
    default="auto",
    show_default=True,
    help="auto: solve a head on frozen features, fine-tune, and keep what held-out labels say is better.",
)
@click.option(
    "--minutes",
    type=Number(0, infinite=True),
    default=5.0,
    show_default=True,
    help="Time limit of fine-tuning or training from scratch; inf for none. With auto, 0 keeps it frozen.",
)
@click.option(
    "--mirrored-views",
    is_flag=True,
    help="Average the predictions for each image and its mirror image (twice as slow).",
)
@backbone_option()
@weights_option()
@split_options
@list_option("techniques.TECHNIQUES")
@resume_option()
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
    mirrored_views: bool,
    seed: int,
    resume: bool,
    overwrite: bool,
) -> None:
    """Train a classifier on DATA, the name of a data set or a folder of images.

    A folder has one sub-folder for each class. For several labels per image see `tlkit train-tasks`.
    """
    claim(out, overwrite, resume)
    network, size = backbone_and_size(data, backbone, image_size)
    import_keras()
    from tlkit.data import load
    from tlkit.experiments import train as experiment

    body = start_of(network.name, technique, weights_of(weights, network), size, seed)
    images = load(data, image_size=size, validation=validation, test=test, seed=seed, progress=bars())
    click.echo(images)
    result = experiment.train(
        images,
        technique=technique,
        backbone=body,
        epochs=epochs,
        minutes=minutes,
        mirrored_views=mirrored_views,
        seed=seed,
        verbose=verbosity(),
        backup=state_in(out, overwrite, network),
    )
    for each in result.others:
        click.echo(f"{each.technique}: {outcome(each)}")
    click.echo(f"{result.technique}: {outcome(result)}" if result.others else outcome(result))
    if result.tuning is not None:
        click.echo(reason(result.tuning))
    finish(result, out)


def reason(result: Any) -> str:
    """Say in words why the network was fine-tuned or not."""
    from tlkit.reports.choice import reason as in_words

    return in_words(result)


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
