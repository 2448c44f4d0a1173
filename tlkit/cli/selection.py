"""The command that chooses a backbone: select."""

import time
from pathlib import Path
from typing import Any

import click

from tlkit import outputs
from tlkit.cli.shared import card_size, progress, seed_option, show_methods, this_command
from tlkit.quiet import import_keras

DEFAULT_SIZE = 224  # of a folder's images


class Names(click.ParamType):
    """Names with commas between them."""

    name = "NAME,NAME,..."

    def convert(self, value: Any, param: Any, context: Any) -> tuple[str, ...]:
        names = tuple(each.strip() for each in value.split(","))
        if not all(names):
            self.fail(f"{value!r} has an empty name between its commas.", param, context)
        return names


@click.command()
@click.argument("data", required=False)
@click.option(
    "--backbones",
    type=Names(),
    help="NAME, or NAME:none, or NAME:FILE.  [default: all whose weights are here, and one at random]",
)
@click.option("--scores", "names", type=Names(), help="See `tlkit select --list`.  [default: all]")
@click.option(
    "--time-budget", type=click.FloatRange(0, min_open=True), help="Seconds; leaves out what does not fit."
)
@click.option(
    "--images", type=click.IntRange(4), default=2000, show_default=True, help="Of the train images, at most."
)
@click.option("--image-size", type=click.IntRange(1), help="Height and width in pixels.")
@seed_option()
@click.option("--out", type=Path, help="Folder for metrics.json and report.html.")
@click.option("--overwrite", is_flag=True, help="Replace the files of an earlier run in --out.")
@click.option("--list", "listed", is_flag=True, help="Explain every score in a line, and leave.")
def select(
    data: str | None,
    backbones: tuple[str, ...] | None,
    names: tuple[str, ...] | None,
    time_budget: float | None,
    images: int,
    image_size: int | None,
    seed: int,
    out: Path | None,
    overwrite: bool,
    listed: bool,
) -> None:
    """Rank backbones for DATA from one pass of features each, and recommend one.

    DATA is a data set's name, or a folder with one sub-folder a class. Nothing is trained but linear heads,
    and test images are not looked at.
    """
    from tlkit.challenges import model_selection

    if listed:
        show_methods(model_selection.SCORES)
        return
    if data is None:
        raise click.UsageError("Name a data set or a folder of images; or --list.")
    chosen = (
        [model_selection.candidate(name) for name in backbones]
        if backbones
        else model_selection.default_candidates()
    )
    for name in names or ():
        model_selection.find(name)
    smallest = max(each.row.smallest_size for each in chosen)
    size = image_size or max(card_size(data) or DEFAULT_SIZE, smallest)
    for each in chosen:
        each.row.check_size(size)
    if out is not None:
        outputs.prepare(out, overwrite)
    import_keras()
    from tlkit.data import load
    from tlkit.findings import selection as page
    from tlkit.findings.page import write
    from tlkit.selection import SPEED, select

    start, bar = time.perf_counter(), progress()["progress"]
    pictures = load(data, image_size=size, progress=bar)
    click.echo(pictures)
    selection = select(
        pictures,
        chosen,
        names=names,
        images=images,
        time_budget=time_budget,
        seed=seed,
        say=click.echo,
        progress=bar,
    )
    found = page.findings(selection, pictures, seconds=time.perf_counter() - start)
    shown = selection.table.drop(columns=["optimal", "random"]).round({"megabytes": 1, SPEED: 0})
    click.echo(shown.set_index("backbone").T.to_string(float_format="{:,.3g}".format, na_rep="-"))
    click.secho(found.answer, bold=True)
    for caution in found.cautions:
        click.secho(f"Note: {caution}", fg="yellow", err=True)
    if out is not None:
        written = write(found, out, command=this_command(), overwrite=True)
        click.secho(f"Report: {written / 'report.html'}", fg="green")
