"""The command line. Every command is one call into the package; nothing heavy loads before it is needed."""

import json
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click

from tlkit import __version__, outputs
from tlkit.backbones import registry
from tlkit.errors import TlkitError, TlkitWarning
from tlkit.quiet import import_keras
from tlkit.techniques import TECHNIQUES

ONLINE = "A path of a folder, or a name: see `tlkit datasets`."


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tlkit")
def cli() -> None:
    """Transfer learning with Keras: train, understand and use models on few images."""


def training_options(command: Any) -> Any:
    """Add the options that every training command shares."""
    for option in (
        click.option("--overwrite", is_flag=True, help="Replace the files of an earlier run in --out."),
        click.option("--seed", type=int, default=0, show_default=True),
        click.option("--epochs", type=click.IntRange(1), help="Passes over the images, at most."),
        click.option("--image-size", type=click.IntRange(1), help="Height and width in pixels."),
    ):
        command = option(command)
    return command


@cli.command()
@click.option("--out", type=Path, default=Path("runs/demo"), show_default=True)
@training_options
def demo(out: Path, image_size: int | None, epochs: int | None, seed: int, overwrite: bool) -> None:
    """Emoji by EfficientNetLite0: frozen, fine-tuned and from scratch, side by side in one report."""
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
        callbacks=[run.EpochLines(technique)],
    )


@cli.command()
@click.argument("data")
@click.option("--out", type=Path, required=True, help="Folder for model.keras, metrics.json, report.html.")
@click.option("--technique", type=click.Choice(TECHNIQUES), default="feature-extraction", show_default=True)
@click.option("--backbone", default="EfficientNetLite0", show_default=True, help="See `tlkit backbones`.")
@click.option("--weights", default="imagenet", show_default=True, help="imagenet, or a weights file.")
@click.option(
    "--validation", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share split off."
)
@click.option("--test", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share split off.")
@training_options
def train(
    data: str,
    out: Path,
    technique: str,
    backbone: str,
    weights: str,
    validation: float,
    test: float,
    image_size: int | None,
    epochs: int | None,
    seed: int,
    overwrite: bool,
) -> None:
    """Train a classifier on DATA, a data set's name or a folder of images; write model and report."""
    outputs.prepare(out, overwrite)
    network = registry.find(backbone)
    import_keras()
    from tlkit import report, run
    from tlkit.backbones import get
    from tlkit.data import list_datasets, load

    cards = {card.name: card.image_size for card in list_datasets()} | {"emoji": 128}
    size = image_size or max(cards.get(data, network.default_size), network.smallest_size)
    network.check_size(size)  # what can fail early does, before a large folder is read
    given = None if weights.lower() == "none" else weights
    body = network.name if technique == "scratch" else get(network.name, weights=given, image_size=size)
    images = load(
        data, image_size=size, validation=validation, test=test, seed=seed, progress=sys.stderr.isatty()
    )
    click.echo(images)
    result = run.train(
        images,
        technique=technique,
        backbone=body,
        epochs=epochs,
        seed=seed,
        **progress(),
    )
    click.echo(outcome(result))
    written = report.write(result, out, command=this_command(), overwrite=True)
    click.secho(f"Report: {written / 'report.html'}", fg="green")
    if result.interrupted:
        click.secho(
            "Stopped by Ctrl-C: what was written is the best model until then.", fg="yellow", err=True
        )
        sys.exit(130)


@cli.command()
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
        for each in methods.METHODS:
            click.echo(f"{each.name:<13} {each.does} ({each.paper})")
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
    cards = {card.name: card.image_size for card in list_datasets()} | {"emoji": 128}
    size = image_size or max(cards.get(source, network.default_size), network.smallest_size)
    network.check_size(size)
    if weights is None:
        weights = "imagenet" if network.weights_file else "none"
    bars = progress()
    read = {"image_size": size, "progress": bars["progress"]}
    labelled = load(source, seed=seed, **read)
    images = load_unlabelled(target, **read)
    judge = None
    if evaluate:  # of a folder all images judge; a data set has its own splits
        share = 0.2 if evaluate in cards else 0.0
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
    if result.interrupted:
        click.secho("Stopped by Ctrl-C: what was written is the model until then.", fg="yellow", err=True)
        sys.exit(130)


@cli.command()
@click.argument("model", type=Path)
@click.argument("images", type=Path, nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), default=1, show_default=True, help="Answers for each image.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def predict(model: Path, images: Sequence[Path], top: int, as_json: bool) -> None:
    """Name what is on IMAGES (files or folders) with MODEL, a model.keras of `tlkit train` or its folder."""
    from tlkit import prediction

    answers = prediction.predict(model, images, top=top)
    if as_json:
        click.echo(json.dumps(answers, indent=2, ensure_ascii=False))
        return
    for answer in answers:
        named = ", ".join(f"{each['class']} {each['probability']:.1%}" for each in answer["classes"])
        click.echo(f"{answer['image']}: {named}")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def backbones(as_json: bool) -> None:
    """List the pretrained networks, and whether their weights are on this machine."""
    from tlkit.backbones import list_backbones

    rows = [
        {
            "name": each.name,
            "parameters": each.parameters,
            "megabytes": round(each.megabytes, 1),
            "default_size": each.default_size,
            "smallest_size": each.smallest_size,
            "weights": each.weights_source,
            "here": each.available,
        }
        for each in list_backbones()
    ]
    show(rows, as_json)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def datasets(as_json: bool) -> None:
    """List the data sets that work offline; a folder or tfds:NAME works as well."""
    from tlkit.data import list_datasets

    rows = [
        {
            "name": card.name,
            "title": card.title,
            "classes": len(card.classes),
            **card.counts,
            "image_size": card.image_size,
            "licence": card.licence,
        }
        for card in list_datasets()
    ]
    show(rows, as_json)


def show(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print rows as JSON or as a table."""
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    import pandas as pd

    click.echo(pd.DataFrame(rows).to_string(index=False))


def progress() -> dict[str, Any]:
    """Progress bars on a terminal, one line an epoch in a log."""
    terminal = sys.stderr.isatty()
    return {"progress": terminal, "verbose": 1 if terminal else 2}


def outcome(result: Any) -> str:
    """Say in one line how good a run is and how long it took."""
    shares = ", ".join(f"{name} {result.accuracy(name):.1%}" for name in result.probabilities)
    return f"accuracy: {shares}; {result.seconds['total']:.0f} s"


def this_command() -> str:
    """Return the command line that is running, ready to be pasted."""
    return shlex.join(["tlkit", *sys.argv[1:]])


def main() -> None:
    """Run the command line: errors on purpose are one red line and exit code 2."""
    plain = warnings.showwarning

    def shown(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, TlkitWarning):
            click.secho(f"Note: {message}", fg="yellow", err=True)
        else:
            plain(message, category, *where, **more)

    warnings.showwarning = shown
    warnings.simplefilter("default", TlkitWarning)  # the same one once
    try:
        cli.main(standalone_mode=True)
    except TlkitError as error:
        click.secho(f"Error: {error}", fg="red", err=True)
        sys.exit(2)
