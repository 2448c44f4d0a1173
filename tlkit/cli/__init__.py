"""The command line. Every command is one call into the package; nothing heavy loads before it is needed."""

import sys
import warnings
from typing import Any

import click

from tlkit import __version__
from tlkit.cli.course import course
from tlkit.cli.doctor import doctor
from tlkit.cli.features import features
from tlkit.cli.own_images import audit, card, export, serve
from tlkit.cli.pretraining import pretrain
from tlkit.cli.recipe import recipe
from tlkit.cli.selection import select
from tlkit.cli.similarity import similarity
from tlkit.cli.study import study
from tlkit.cli.training import adapt, demo, train
from tlkit.cli.using import backbones, datasets, predict
from tlkit.errors import TlkitError, TlkitWarning


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tlkit")
def cli() -> None:
    """Transfer learning with Keras: train, understand and use models on few images."""


COMMANDS = (
    *(demo, train, adapt, pretrain, study, similarity, select, audit),
    *(predict, features, card, export, serve, recipe, course, doctor, backbones, datasets),
)
for command in COMMANDS:
    cli.add_command(command)


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
