"""The command that trains one network on several tasks: train-tasks."""

import shlex
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import click

from tlkit._internal.keras_import import import_keras
from tlkit.cli.shared import (
    backbone_and_size,
    backbone_option,
    bars,
    claim,
    finish,
    list_option,
    split_options,
    training_options,
    weights_of,
    weights_option,
)
from tlkit.cli.train import start_of
from tlkit.errors import TlkitError
from tlkit.techniques import TECHNIQUES
from tlkit.techniques.multi_task.methods import BALANCINGS


@click.command("train-tasks")
@click.argument("data")
@click.option("--labels", type=Path, help="CSV: file name, then one column for each task. For a folder.")
@click.option("--out", type=Path, required=True, help="Folder for model.keras, metrics.json, report.html.")
@click.option(
    "--technique", type=click.Choice(TECHNIQUES.names), default="feature-extraction", show_default=True
)
@click.option("--balancing", default="equal", show_default=True, help="See `tlkit train-tasks --list`.")
@click.option(
    "--kind", "kinds", multiple=True, metavar="COLUMN=KIND", help="classification, multi-label, regression."
)
@backbone_option()
@weights_option()
@split_options
@list_option("techniques.multi_task.methods.BALANCINGS")
@training_options
def train_tasks(
    data: str,
    labels: Path | None,
    out: Path,
    technique: str,
    balancing: str,
    kinds: Sequence[str],
    backbone: str,
    weights: str | None,
    validation: float,
    test: float,
    image_size: int | None,
    epochs: int | None,
    seed: int,
    overwrite: bool,
) -> None:
    """Train one network on several tasks: images below DATA, and a table of what they show.

    Each column of the table is a task: classes, several labels, or numbers. DATA can also be the name of a
    data set with several labels per image, such as solar; it needs no table.
    """
    from tlkit.data import is_folder, load, load_table

    if labels is None and is_folder(data):
        raise TlkitError(
            f"{data} is a folder, so a table must name its images and their labels: --labels FILE.csv."
        )
    asked, rule = kinds_of(kinds), BALANCINGS.find(balancing).name
    claim(out, overwrite)
    network, size = backbone_and_size(data, backbone, image_size)
    import_keras()
    from tlkit.callbacks import EpochLines
    from tlkit.experiments import train_tasks as experiment
    from tlkit.techniques.multi_task import tasks_for

    body = start_of(network.name, technique, weights_of(weights, network), size, seed)
    options: dict[str, Any] = {"validation": validation, "test": test, "seed": seed, "progress": bars()}
    images = (
        load(data, image_size=size, **options)
        if labels is None
        else load_table(data, labels, image_size=size, **options)
    )
    click.echo(images)
    tasks = tasks_for(images, asked)
    for name, task in tasks.items():
        columns = [split.attributes[name] for split in images.splits.values()]
        click.echo(description(name, task, [*chain(*columns)], asked=name in asked))
    result = experiment.train_tasks(
        images,
        tasks=tasks,
        technique=technique,
        backbone=body,
        balancing=rule,
        epochs=epochs,
        seed=seed,
        callbacks=[EpochLines("", epoch_values(images, tasks))],
        verbose="auto" if bars() else 0,
    )
    measures, floors = result.measures(result.evaluated), result.baselines()
    click.echo(f"on the {result.evaluated} images, {result.seconds['total']:.0f} s:")
    for name, task in tasks.items():
        click.echo(f"  {name}: {outcome(task, measures[name], floors[name])}")
    finish(result, out)


def kinds_of(pairs: Sequence[str]) -> dict[str, str]:
    """Read `COLUMN=KIND` pairs.

    >>> kinds_of(["year=classification"])
    {'year': 'classification'}
    """
    kinds = {}
    for text in pairs:
        column, equals, kind = text.rpartition("=")
        if not equals or not column or not kind:
            raise TlkitError(
                f"--kind {text} was given; expected COLUMN=KIND, such as --kind size=classification. Kinds: "
                "classification, multi-label, regression."
            )
        kinds[column.strip()] = kind.strip().lower()
    return kinds


def epoch_values(images: Any, tasks: dict[str, Any]) -> dict[str, str]:
    """Return what to print after each epoch: names in Keras's logs, and what they are called."""
    split, part = (images.validation, "val_") if images.validation else (images.train, "")
    values = {f"{part}loss": f"{'validation' if part else 'training'}: loss"}
    for name, task in tasks.items():
        if labelled(split.attributes[name]):
            values[f"{part}{name}_{task.measure}"] = f"{name} {task.measure}"
    return values


def description(name: str, task: Any, column: Sequence[str], *, asked: bool) -> str:
    """Say in one line which kind of task a column is, and what to type if that is wrong."""
    line = f"{name}: {task.kind}, {labelled(column)} of {len(column)} images labelled, "
    if task.kind != "regression":
        return f"{line}{task.outputs} {'classes' if task.kind == 'classification' else 'labels'}"
    line += f"mean {task.mean:.4g}"
    return line if asked else f"{line}; wrong? --kind {shlex.quote(name)}=classification"


def labelled(column: Iterable[str]) -> int:
    """Count the values that are not missing."""
    from tlkit.techniques.multi_task.writing import is_missing

    return sum(not is_missing(value) for value in column)


def outcome(task: Any, measure: float | None, floor: float | None) -> str:
    """Say how good a task is, and how good the best constant answer."""
    if measure is None or floor is None:
        return "no label to evaluate it with"
    if task.higher_is_better:
        return f"accuracy {measure:.1%} (best constant answer {floor:.1%})"
    return f"mean absolute error {measure:.4g} (best constant answer {floor:.4g})"
