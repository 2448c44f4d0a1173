"""The commands that train: demo, train, adapt."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from tlkit import outputs
from tlkit.backbones import registry
from tlkit.cli.multi_task import kinds_of, train_on_table
from tlkit.cli.shared import (
    image_size_for,
    interrupted,
    outcome,
    progress,
    show_methods,
    this_command,
    training_options,
)
from tlkit.quiet import import_keras
from tlkit.techniques import TECHNIQUES


@click.command()
@click.option("--out", type=Path, default=Path("runs/demo"), show_default=True)
@training_options
def demo(out: Path, image_size: int | None, epochs: int | None, seed: int, overwrite: bool) -> None:
    """Emoji by EfficientNetLite0: frozen, fine-tuned and from scratch, side by side in one report."""
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
    from tlkit import report

    others = [frozen, scratch]
    written = report.write(tuned, out, command=this_command(), others=others, overwrite=True)
    click.secho(f"\nReport: {written / 'report.html'}", fg="green")


def trained(technique: str, image_size: int, epochs: int, seed: int) -> Any:
    """Train one arm of the demo."""
    import_keras()
    from tlkit import run
    from tlkit.callbacks import EpochLines
    from tlkit.data import load

    data = load("emoji", image_size=image_size)
    frozen = technique == "feature-extraction"
    if frozen:
        click.echo(data)
    return run.train(
        data,
        technique=technique,
        epochs=None if frozen else epochs,
        seed=seed,
        callbacks=[EpochLines(technique)],
    )


@click.command()
@click.argument("data")
@click.option("--out", type=Path, required=True, help="Folder for model.keras, metrics.json, report.html.")
@click.option("--technique", type=click.Choice(TECHNIQUES), default="feature-extraction", show_default=True)
@click.option("--backbone", default="EfficientNetLite0", show_default=True, help="See `tlkit backbones`.")
@click.option("--weights", default="imagenet", show_default=True, help="imagenet, or a weights file.")
@click.option(
    "--validation", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share split off."
)
@click.option("--test", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share split off.")
@click.option(
    "--labels", type=Path, help="CSV: file name, then a column a task; trains one network for all of them."
)
@click.option("--balancing", help="With --labels: equal, uncertainty, dwa, gradnorm, pcgrad, cagrad, random.")
@click.option(
    "--kind", "kinds", multiple=True, metavar="COLUMN=KIND", help="classification, multi-label, regression."
)
@training_options
def train(
    data: str,
    out: Path,
    technique: str,
    backbone: str,
    weights: str,
    validation: float,
    test: float,
    labels: Path | None,
    balancing: str | None,
    kinds: tuple[str, ...],
    image_size: int | None,
    epochs: int | None,
    seed: int,
    overwrite: bool,
) -> None:
    """Train a classifier on DATA, a data set's name or a folder of images; write model and report.

    With --labels the images may lie in DATA as they like, and a table says what they show.
    """
    if labels is None and (balancing or kinds):
        raise click.UsageError("--balancing and --kind are about the columns of a table: give --labels too.")
    chosen = kinds_of(kinds)
    outputs.prepare(out, overwrite)
    network = registry.find(backbone)
    import_keras()
    from tlkit import report, run
    from tlkit.backbones import get
    from tlkit.data import load
    from tlkit.seeds import set_seed

    size = image_size_for(data, network, image_size)
    given = None if weights.lower() == "none" else weights
    set_seed(seed)  # of random weights
    body = network.name if technique == "scratch" else get(network.name, weights=given, image_size=size)
    shares: dict[str, Any] = {"image_size": size, "validation": validation, "test": test, "seed": seed}
    options: dict[str, Any] = {"technique": technique, "backbone": body, "epochs": epochs}
    if labels is not None:
        train_on_table(data, labels, out, chosen, balancing or "equal", **shares, **options)
        return
    images = load(data, progress=sys.stderr.isatty(), **shares)
    click.echo(images)
    result = run.train(images, seed=seed, **options, **progress())
    click.echo(outcome(result))
    written = report.write(result, out, command=this_command(), overwrite=True)
    click.secho(f"Report: {written / 'report.html'}", fg="green")
    interrupted(result)


@click.command()
@click.argument("source", required=False)
@click.argument("target", required=False)
@click.option("--out", type=Path, help="Folder for model.keras, metrics.json, report.html.")
@click.option("--method", default="jan", show_default=True, help="See `tlkit adapt --list`.")
@click.option("--backbone", default="EfficientNetLite0", show_default=True, help="See `tlkit backbones`.")
@click.option(
    "--weights", default=None, help="imagenet (default where there are any), none, or a weights file."
)
@click.option(
    "--features/--end-to-end",
    "on_features",
    default=None,
    help="Train the head on kept features, or the network.  [default: features where there are weights]",
)
@click.option("--select", default="snd", show_default=True, help="Score that chooses the epoch, or none.")
@click.option("--evaluate", help="Labelled images of the target, to judge by and for nothing else.")
@click.option("--list", "listed", is_flag=True, help="Explain every method in a line, and leave.")
@training_options
def adapt(
    source: str | None,
    target: str | None,
    out: Path | None,
    method: str,
    backbone: str,
    weights: str | None,
    on_features: bool | None,
    select: str,
    evaluate: str | None,
    listed: bool,
    image_size: int | None,
    epochs: int | None,
    seed: int,
    overwrite: bool,
) -> None:
    """Learn from labelled SOURCE for unlabelled TARGET: names of data sets, or folders of images.

    TARGET may be a folder without class sub-folders.
    """
    from tlkit.techniques.domain_adaptation import methods

    if listed:
        show_methods(methods.METHODS)
        return
    if source is None or target is None or out is None:
        raise click.UsageError("Give SOURCE, TARGET and --out; or --list.")
    methods.find(method)
    outputs.prepare(out, overwrite)
    network = registry.find(backbone)
    import_keras()
    from tlkit import adaptation, report
    from tlkit.data import list_datasets, load, load_unlabelled
    from tlkit.techniques.domain_adaptation.selection import check

    chosen = None if select.lower() == "none" else check(select)
    size = image_size_for(source, network, image_size)
    if weights is None:
        weights = "imagenet" if network.weights_file else "none"
    bars = progress()
    read = {"image_size": size, "progress": bars["progress"]}
    labelled = load(source, seed=seed, **read)
    images = load_unlabelled(target, **read)
    judge = None
    if evaluate:  # of a folder all images judge; a data set has its own splits
        share = 0.2 if evaluate in {card.name for card in list_datasets()} | {"emoji"} else 0.0
        judge = load(evaluate, validation=share, test=share, **read)
    click.echo(labelled)
    click.echo(f"target: {target}, {len(images)} images without labels")
    result = adaptation.adapt(
        labelled,
        images,
        method=method,
        backbone=network.name,
        weights=None if weights.lower() == "none" else weights,
        on_features=on_features,
        select=chosen,
        epochs=epochs,
        evaluate=judge,
        target_name=target,
        seed=seed,
        **bars,
    )
    known = {name: value for name, value in result.accuracies.items() if value is not None}
    if known:
        click.echo("on the target: " + ", ".join(f"{name} {value:.1%}" for name, value in known.items()))
    written = report.write(result, out, command=this_command(), overwrite=True)
    click.secho(f"Report: {written / 'report.html'}", fg="green")
    interrupted(result)
