"""The command that chooses a backbone: select."""

from pathlib import Path

import click

from tlkit._internal.keras_import import import_keras
from tlkit.cli.shared import (
    Names,
    Number,
    bars,
    card_size,
    claim,
    finish,
    image_size_option,
    list_option,
    overwrite_option,
    seed_option,
)

DEFAULT_SIZE = 224  # of a folder's images


@click.command()
@click.argument("data")
@click.option(
    "--backbones",
    type=Names(),
    help="NAME, or NAME:none, or NAME:FILE.  [default: all whose weights are here, and one at random]",
)
@click.option(
    "--scores",
    type=Names(),
    help="Names of `tlkit select --list`, or all.  [default: logme,linear-probe,knn]",
)
@click.option("--time-budget", type=Number(0, min_open=True), help="Seconds; leaves out what does not fit.")
@click.option(
    "--images", type=click.IntRange(4), default=2000, show_default=True, help="Of the train images, at most."
)
@image_size_option()
@seed_option()
@click.option("--out", type=Path, help="Folder for metrics.json and report.html.")
@overwrite_option()
@list_option("challenges.model_selection.table.SCORES")
def select(
    data: str,
    backbones: tuple[str, ...] | None,
    scores: tuple[str, ...] | None,
    time_budget: float | None,
    images: int,
    image_size: int | None,
    seed: int,
    out: Path | None,
    overwrite: bool,
) -> None:
    """Rank backbones for DATA from one pass of features each, and recommend one.

    DATA is the name of a data set, or a folder with one sub-folder for each class. Only linear heads are
    trained, and test images are not used. Where the accuracy of the heads cannot rank the backbones, their
    speed decides; where timings cannot tell the speed apart, the number of multiply-adds does.
    """
    from tlkit.challenges.model_selection import candidate, default_candidates, scores_named

    chosen = [candidate(name) for name in backbones] if backbones else default_candidates()
    scores_named(scores)  # a wrong name fails before any work
    size = image_size or max(card_size(data) or DEFAULT_SIZE, *(each.row.smallest_size for each in chosen))
    for each in chosen:
        each.row.check_size(size)
    if out is not None:
        claim(out, overwrite)
    import_keras()
    from tlkit.challenges.model_selection import SPEED
    from tlkit.challenges.model_selection.choice import FASTEST, SLOWEST
    from tlkit.data import load
    from tlkit.experiments import select as experiment

    dataset = load(data, image_size=size, progress=bars())
    click.echo(dataset)
    result = experiment.select(
        dataset,
        chosen,
        scores=scores,
        images=images,
        time_budget=time_budget,
        seed=seed,
        report_line=click.echo,
        progress=bars(),
    )
    shown = result.table.drop(columns=["optimal", "random"])
    shown = shown.round({"megabytes": 1, SPEED: 0, SLOWEST: 0, FASTEST: 0})
    click.echo(shown.set_index("backbone").T.to_string(float_format="{:,.3g}".format, na_rep="-"))
    click.secho(result.answer, bold=True)
    for caution in result.cautions:
        click.secho(f"Note: {caution}", fg="yellow", err=True)
    finish(result, out)
