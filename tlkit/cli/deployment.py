"""The commands for a trained model: predict, evaluate, card, export, serve."""

import contextlib
import json
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import click

from tlkit._internal.keras_import import import_keras
from tlkit.cli.shared import Number, bars, claim, finish, list_option, overwrite_option
from tlkit.errors import OutputError


@click.command()
@click.argument("model", type=Path)
@click.argument("images", type=Path, nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), default=1, show_default=True, help="Classes for each image.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def predict(model: Path, images: Sequence[Path], top: int, as_json: bool) -> None:
    """Classify IMAGES (files or folders) with MODEL, a model.keras of `tlkit train` or its folder."""
    from tlkit.deployment.networks import in_words
    from tlkit.deployment.predict import predict as predicted

    answers = predicted(model, images, top=top, progress=bars())
    if as_json:
        click.echo(json.dumps(answers, indent=2, ensure_ascii=False))
        return
    for answer in answers:
        if "tasks" in answer:
            click.echo(f"{answer['image']}: {in_words(answer['tasks'])}")
            continue
        named = ", ".join(f"{each['class']} {each['probability']:.1%}" for each in answer["classes"])
        click.echo(f"{answer['image']}: {named}")


@click.command()
@click.argument("run", type=Path)
@click.argument("data")
@click.option("--labels", type=Path, help="CSV: file name, then columns of labels. For a folder of images.")
@click.option("--out", type=Path, help="Folder for predictions.csv, metrics.json, report.html.")
@overwrite_option()
def evaluate(run: Path, data: str, labels: Path | None, out: Path | None, overwrite: bool) -> None:
    """Measure the accuracy of the model of RUN on DATA, a labelled folder of images or a data set.

    A folder has one sub-folder for each class, with the names that the model knows; or its labels are in a
    table. A model of `tlkit train-tasks` needs the table: a column for each task.
    """
    from tlkit.deployment.saved_run import open_run

    opened = open_run(run)
    if out is not None:
        if out.resolve() == opened.folder.resolve():
            raise OutputError(
                f"{out} is the folder of the run, whose model would be lost. Choose another --out."
            )
        claim(out, overwrite)
    import_keras()
    from tlkit.deployment.evaluate import evaluate as measured

    result = measured(opened, data, labels=labels, progress=bars())
    click.secho(result.answer, bold=True)
    for row in result.metrics().get("per_class", ()):
        if row["support"]:
            click.echo(f"  {row['name']}: recall {row['recall']:.1%} of {row['support']} images")
    finish(result, out)


@click.command()
@click.argument("run", type=Path)
@click.option("--licence", default="unknown", show_default=True, help="Of the model, such as apache-2.0.")
@click.option("--overwrite", is_flag=True, help="Replace the card, with what was written into it by hand.")
def card(run: Path, licence: str, overwrite: bool) -> None:
    """Write MODEL_CARD.md into RUN, a folder of `tlkit train`: every figure with its interval."""
    from tlkit.deployment.card import warnings, write_card
    from tlkit.deployment.saved_run import open_run

    opened = open_run(run)
    written = write_card(opened, licence=licence, overwrite=overwrite)
    for warning in warnings(opened):
        click.secho(f"Note: {warning}", fg="yellow", err=True)
    click.secho(
        f"Model card: {written}. What only you know is marked: To be written by the author.", fg="green"
    )


@click.command()
@click.argument("run", type=Path)
@click.option(
    "--format",
    "formats",
    multiple=True,
    default=("litert", "openvino"),
    show_default=True,
    help="See `tlkit export --list`; may be given twice.",
)
@click.option("--out", type=Path, help="Folder for the files.  [default: RUN/exported]")
@click.option(
    "--images", type=Path, multiple=True, help="Files or folders to compare on.  [default: RUN's test images]"
)
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier export.")
@list_option("deployment.formats.FORMATS")
def export(
    run: Path, formats: tuple[str, ...], out: Path | None, images: tuple[Path, ...], overwrite: bool
) -> None:
    """Write the model of RUN for phones (LiteRT) or processors (OpenVINO), with its class names.

    Each file is run on images and compared with Keras before it is kept. The exit code is 1 if a format
    failed.
    """
    from tlkit.deployment.formats import FORMATS
    from tlkit.deployment.saved_run import open_run

    opened = open_run(run)
    for name in formats:
        FORMATS.find(name)
    import_keras()
    from tlkit.deployment import export as exporting

    compared = exporting.read_images(images, opened.image_size) if images else None
    done = exporting.export(opened, out, formats=formats, images=compared, overwrite=overwrite)
    folder = out or opened.folder / "exported"
    what = "outputs" if opened.tasks else "probabilities"
    for each in done["files"]:
        click.echo(
            f"{folder / each['file']}: {each['bytes'] / 1e6:.1f} MB; on {each['images']} images the "
            f"{what} differ from Keras by {each['difference']:.1e} at most"
        )
    names = folder / ("export.json" if opened.tasks else "labels.txt")
    click.secho(f"{'Tasks and class' if opened.tasks else 'Class'} names: {names}", fg="green")
    for each in done["failed"]:
        click.secho(f"Not exported as {each['format']}: {each['reason']}.", fg="yellow", err=True)
    if done["failed"]:
        raise SystemExit(1)


@click.command()
@click.argument("run", type=Path)
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: everyone in your network.")
@click.option("--port", type=click.IntRange(1, 65535), help="[default: a free one from 7860]")
@click.option(
    "--max-upload",
    type=Number(0, min_open=True),
    default=20.0,
    show_default=True,
    metavar="MB",
    help="Size of the largest file that can be sent.",
)
def serve(run: Path, host: str, port: int | None, max_upload: float) -> None:
    """Serve a page that classifies images with the model of RUN, until Ctrl-C; needs 'tlkit[serve]'.

    Only requests to this machine's own names and addresses are answered.
    """
    import_keras()
    from tlkit.deployment.serve import serve as served

    address, blocks = served(run, host=host, port=port, wait=False, max_upload=max_upload)
    if threading.current_thread() is threading.main_thread():  # so that images are deleted then, too
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    click.secho(f"Open {address}; Ctrl-C stops it.", fg="green")
    with contextlib.suppress(KeyboardInterrupt):
        blocks.block_thread()
