"""What several commands share: options, progress, and how a result is said."""

import shlex
import sys
from collections.abc import Iterable
from functools import partial
from typing import Any

import click

from tlkit.backbones.registry import Backbone
from tlkit.seeds import LARGEST
from tlkit.techniques.methods import Method

seed_option = partial(click.option, "--seed", type=click.IntRange(0, LARGEST), default=0, show_default=True)


def training_options(command: Any) -> Any:
    """Add the options that every training command shares."""
    for option in (
        click.option("--overwrite", is_flag=True, help="Replace the files of an earlier run in --out."),
        seed_option(),
        click.option("--epochs", type=click.IntRange(1), help="Passes over the images, at most."),
        click.option("--image-size", type=click.IntRange(1), help="Height and width in pixels."),
    ):
        command = option(command)
    return command


def image_size_for(data: str, network: Backbone, wanted: int | None) -> int:
    """Return the size to read images at; one that the network cannot take fails before anything is read."""
    size = wanted or max(card_size(data) or network.default_size, network.smallest_size)
    network.check_size(size)
    return size


def card_size(data: str) -> int | None:
    """Return the size that the card of a data set names; None for a folder."""
    from tlkit.data import list_datasets

    return ({card.name: card.image_size for card in list_datasets()} | {"emoji": 128}).get(data)


def progress() -> dict[str, Any]:
    """Progress bars on a terminal, one line an epoch in a log."""
    terminal = sys.stderr.isatty()
    return {"progress": terminal, "verbose": 1 if terminal else 2}


def show_methods(methods: Iterable[Method]) -> None:
    """Explain each method of a table in a line."""
    for each in methods:
        click.echo(f"{each.name:<13} {each.does} ({each.paper})")


def outcome(result: Any) -> str:
    """Say in one line how good a run is and how long it took."""
    shares = ", ".join(f"{name} {result.accuracy(name):.1%}" for name in result.probabilities)
    return f"accuracy: {shares}; {result.seconds['total']:.0f} s"


def this_command() -> str:
    """Return the command line that is running, ready to be pasted."""
    return shlex.join(["tlkit", *sys.argv[1:]])


def interrupted(result: Any) -> None:
    """Leave with the exit code of Ctrl-C where a run was stopped by it."""
    if result.interrupted:
        click.secho(
            "Stopped by Ctrl-C: what was written is the best model until then.", fg="yellow", err=True
        )
        sys.exit(130)
