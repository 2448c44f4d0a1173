"""The commands for your own images: audit, card, export, serve."""

import contextlib
import time
from pathlib import Path

import click

from tlkit import outputs
from tlkit.cli.shared import progress, seed_option, this_command
from tlkit.quiet import import_keras

LEVELS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command()
@click.argument("data")
@click.option("--out", type=Path, help="Folder for metrics.json and report.html, with pictures of the pairs.")
@click.option(
    "--validation", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="As for tlkit train."
)
@click.option(
    "--test", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="As for tlkit train."
)
@seed_option(help="As for tlkit train.")
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier run in --out.")
def audit(data: str, out: Path | None, validation: float, test: float, seed: int, overwrite: bool) -> None:
    """Look for what is wrong with DATA, a folder of images, before training.

    Copies, leaks between the splits, one picture under two labels, small classes, unreadable and odd files.
    Nothing is changed. Leaves with 1 where an error was found.
    """
    if out is not None:
        outputs.prepare(out, overwrite)
    import_keras()
    from tlkit.auditing import audit
    from tlkit.data import is_folder, load
    from tlkit.findings import audit as page
    from tlkit.findings.page import write

    start = time.perf_counter()
    given = data if is_folder(data) else load(data)
    bar = progress()["progress"]
    seen = audit(given, validation=validation, test=test, seed=seed, progress=bar)
    found = page.findings(seen, seconds=time.perf_counter() - start)
    click.echo(f"{seen.title}: {len(seen.images)} images of {len(seen.classes)} classes")
    for each in seen.problems:
        click.secho(f"{each.level}: ", fg=LEVELS[each.level], bold=True, nl=False)
        click.echo(f"{each.name} ({each.count}). {each.why} {each.remedy}")
        for example in each.examples[:3]:
            click.echo(f"    {example}")
    click.secho(found.answer, bold=True)
    if out is not None:
        written = write(found, out, command=this_command(), overwrite=True)
        click.secho(f"Report: {written / 'report.html'}", fg="green")
    if seen.errors:
        raise SystemExit(1)


@click.command()
@click.argument("run", type=Path)
@click.option("--licence", default="unknown", show_default=True, help="Of the model, such as apache-2.0.")
@click.option("--overwrite", is_flag=True, help="Replace the card, with what was written into it by hand.")
def card(run: Path, licence: str, overwrite: bool) -> None:
    """Write MODEL_CARD.md into RUN, a folder of `tlkit train`: every figure with its interval."""
    from tlkit.deployment import model_card
    from tlkit.deployment.saved_run import open_run

    opened = open_run(run)
    written = model_card.write(opened, licence=licence, overwrite=overwrite)
    for warning in model_card.warnings(opened):
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
    help="litert or openvino; may be given twice.",
)
@click.option("--out", type=Path, help="Folder for the files.  [default: RUN/exported]")
@click.option(
    "--images", type=Path, multiple=True, help="Files or folders to compare on.  [default: RUN's test images]"
)
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier export.")
def export(
    run: Path, formats: tuple[str, ...], out: Path | None, images: tuple[Path, ...], overwrite: bool
) -> None:
    """Write the model of RUN for phones (LiteRT) or processors (OpenVINO), with its class names.

    Each file is run on images and compared with Keras before it is kept. Exits with 1 if a format failed.
    """
    import_keras()
    from tlkit.deployment import exporting
    from tlkit.deployment.saved_run import open_run

    opened = open_run(run)
    for name in formats:
        exporting.find(name)
    given = exporting.read_images(images, opened.model.input_shape[1]) if images else None
    told = exporting.export(opened, out, formats=formats, images=given, overwrite=overwrite)
    folder = out or opened.folder / "exported"
    for each in told["files"]:
        click.echo(
            f"{folder / each['file']}: {each['bytes'] / 1e6:.1f} MB; on {each['images']} images the "
            f"probabilities differ from Keras by {each['difference']:.1e} at most"
        )
    click.secho(f"Class names: {folder / 'labels.txt'}", fg="green")
    for each in told["failed"]:
        click.secho(f"Not exported as {each['format']}: {each['reason']}.", fg="yellow", err=True)
    if told["failed"]:
        raise SystemExit(1)


@click.command()
@click.argument("run", type=Path)
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: everyone in your network.")
@click.option("--port", type=click.IntRange(1, 65535), help="[default: a free one from 7860]")
def serve(run: Path, host: str, port: int | None) -> None:
    """Show a page that names images with the model of RUN, until Ctrl-C; needs pip install 'tlkit[serve]'."""
    import_keras()
    from tlkit.deployment import serving
    from tlkit.deployment.saved_run import open_run

    opened = open_run(run)
    note = serving.note_of(opened.numbers, opened.accuracy)
    blocks = serving.page(opened.model, opened.class_names, note=note)
    address = serving.launch(blocks, host=host, port=port, wait=False)
    click.secho(f"Open {address}; Ctrl-C ends it.", fg="green")
    with contextlib.suppress(KeyboardInterrupt):
        blocks.block_thread()
