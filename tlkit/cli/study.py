"""The command that runs a study: dataset-size."""

import sys
import time
from pathlib import Path
from typing import Any

import click

from tlkit import outputs
from tlkit.backbones import registry
from tlkit.cli.shared import image_size_for, progress, this_command
from tlkit.quiet import import_keras
from tlkit.techniques import TECHNIQUES

TABLE = "results.csv"


class Numbers(click.ParamType):
    """Whole numbers above zero with commas between them."""

    name = "N,N,..."

    def convert(self, value: Any, param: Any, context: Any) -> tuple[int, ...]:
        try:
            found = tuple(int(each) for each in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is no list of whole numbers, such as 20,50,100.", param, context)
        if min(found) < 1:
            self.fail(f"{min(found)} is below 1.", param, context)
        return found


@click.group()
def study() -> None:
    """Run an experiment over settings and seeds, which goes on where it was stopped."""


@study.command("dataset-size")
@click.argument("data")
@click.option("--out", type=Path, required=True, help="Folder for results.csv, metrics.json, report.html.")
@click.option(
    "--technique", "techniques", multiple=True, type=click.Choice(TECHNIQUES), help="[default: all]"
)
@click.option("--backbone", default="EfficientNetLite0", show_default=True, help="See `tlkit backbones`.")
@click.option("--weights", default="imagenet", show_default=True, help="imagenet, or a weights file.")
@click.option("--sizes", type=Numbers(), help="Numbers of labels.  [default: six, from two a class to all]")
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="Trainings of each cell.")
@click.option(
    "--accuracy",
    "aim",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="How many labels would this take?",
)
@click.option(
    "--steps", type=click.IntRange(1), help="Of a training, at least.  [default: 100, of a small network 400]"
)
@click.option("--image-size", type=click.IntRange(1), help="Height and width in pixels.")
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: as cores and memory allow]")
@click.option("--resume", is_flag=True, help="Go on with what was stopped in --out.")
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier run in --out.")
def dataset_size(
    data: str,
    out: Path,
    techniques: tuple[str, ...],
    backbone: str,
    weights: str,
    sizes: tuple[int, ...] | None,
    seeds: int,
    aim: float,
    steps: int | None,
    image_size: int | None,
    workers: int | None,
    resume: bool,
    overwrite: bool,
) -> None:
    """Accuracy on DATA against the number of labels, and how many more it would take for --accuracy.

    DATA is a data set's name, or a folder with one sub-folder a class.
    """
    if resume and overwrite:
        raise click.UsageError("Give --resume to go on, or --overwrite to start anew, not both.")
    network = registry.find(backbone)
    size = image_size_for(data, network, image_size)
    outputs.prepare(out, overwrite, resume)
    import_keras()
    from tlkit.cache import atomic
    from tlkit.data import load
    from tlkit.findings import dataset_size as page
    from tlkit.findings.page import write
    from tlkit.study.label_counts import label_counts

    start, bar = time.perf_counter(), progress()["progress"]
    images = load(data, image_size=size, progress=bar)
    click.echo(images)
    if overwrite:
        outputs.discard(out)
    state = out / outputs.UNFINISHED
    asked = {
        "data": data,
        "content": images.train.fingerprint(),
        "backbone": network.name,
        "weights": weights,
    }
    outputs.remember(state, asked | {"image size": size, "steps": steps})
    try:
        table = label_counts(
            images,
            backbone=network.name,
            weights=None if weights.lower() == "none" else weights,
            techniques=techniques or TECHNIQUES,
            sizes=sizes,
            seeds=range(seeds),
            steps=steps,
            keep=state / TABLE,
            workers=workers,
            progress=True,
        )
    except KeyboardInterrupt:
        click.secho("Stopped by Ctrl-C. The same command with --resume goes on.", fg="yellow", err=True)
        sys.exit(130)
    found = page.findings(table, images, backbone=network.name, aim=aim, seconds=time.perf_counter() - start)
    click.echo(found.answer)
    with atomic(out / TABLE) as path:
        table.to_csv(path, index=False)
    written = write(found, out, command=this_command(), overwrite=True)
    outputs.discard(out)
    click.secho(f"Report: {written / 'report.html'}", fg="green")
