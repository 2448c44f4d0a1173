"""The command line: every command is one call into the package, and imports nothing heavy before it must."""

import _thread
import re
import sys
import threading
import warnings
from typing import Any, NoReturn

import click

from tlkit import __version__
from tlkit._internal.keras_import import BACKENDS
from tlkit.cli.adapt import adapt
from tlkit.cli.audit import audit
from tlkit.cli.course import course
from tlkit.cli.deployment import card, evaluate, export, predict, serve
from tlkit.cli.doctor import doctor
from tlkit.cli.features import features
from tlkit.cli.label_counts import label_counts
from tlkit.cli.listings import backbones, datasets, recipe
from tlkit.cli.pretrain import pretrain
from tlkit.cli.select import select
from tlkit.cli.shared import OUT, interrupted
from tlkit.cli.similarity import similarity
from tlkit.cli.train import demo, train
from tlkit.cli.train_tasks import train_tasks
from tlkit.errors import TlkitError, TlkitWarning


class Cli(click.Group):
    """A group whose commands end on Ctrl-C with one line and exit code 130."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        if "" in args:  # an empty path would be the working folder
            raise click.UsageError("An argument is empty. Give a name, or leave its option out.")
        return super().parse_args(context, args)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            interrupted(out=context.meta.get(OUT))
        except TlkitError as error:
            command = self.get_command(context, context.invoked_subcommand or "")
            error.args = (in_options(str(error), command),)
            raise


def in_options(message: str, command: click.Command | None) -> str:
    """Return an error message of Python in the words of the command line.

    >>> in_options("weights='x' is not a file. Give None (random).", train)
    '--weights x is not a file. Give none (random).'
    """
    for each in command.params if command else ():
        if isinstance(each, click.Option) and each.name:
            option = rf"(?<![\w.-]){each.name}=(?:(['\"])([\w./+-]+)\1|(?=\S))"
            message = re.sub(option, rf"{each.opts[0]} \2", message)
    return message.replace("None (random)", "none (random)")


@click.group(cls=Cli, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="tlkit")
def cli() -> None:
    """Transfer learning with Keras: train, understand and use models on few images."""


COMMANDS = (
    *(demo, train, train_tasks, adapt, pretrain, label_counts, similarity, select, audit),
    *(predict, evaluate, card, export, serve, features, recipe, course, doctor, backbones, datasets),
)
EXTRAS = {  # of tlkit, by the package that it installs
    **{name: name for name in BACKENDS},
    **dict.fromkeys(
        ("nbformat", "nbconvert", "nbclient", "jupyter_client", "IPython", "ipywidgets"), "lessons"
    ),
    **{"tensorflow_datasets": "online", "gradio": "serve", "keras_hub": "hub", "elpv_dataset": "solar"},
    **{"pyarrow": "scale", "ray": "scale"},
}
OUT_OF_MEMORY = ("ResourceExhaustedError", "OutOfMemoryError")  # of TensorFlow and PyTorch
for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Run the command line: an expected error is one red line and exit code 2."""
    plain = warnings.showwarning

    def shown(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, TlkitWarning):
            click.secho(f"Note: {' '.join(str(message).split())}", fg="yellow", err=True)
        else:
            plain(message, category, *where, **more)

    ignored = sys.unraisablehook

    def raise_again(what: Any) -> None:
        """Repeat a Ctrl-C that Python ignored, because it came in a callback of the garbage collector."""
        if issubclass(what.exc_type, KeyboardInterrupt):
            threading.Timer(0.1, _thread.interrupt_main).start()
        else:
            ignored(what)

    sys.unraisablehook = raise_again
    warnings.showwarning = shown
    warnings.simplefilter("default", TlkitWarning)  # each one once
    try:
        cli.main(standalone_mode=True)
    except TlkitError as error:
        fail(str(error))
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        fail(
            f"The package {error.name} is needed, but not installed. Install it: pip install 'tlkit[{extra}]'"
            + (", or choose another KERAS_BACKEND." if extra in BACKENDS else ".")
        )
    except Exception as error:
        if not isinstance(error, MemoryError) and type(error).__name__ not in OUT_OF_MEMORY:
            raise
        fail(
            "There is not enough memory for this command. Use smaller images (--image-size), a smaller "
            "backbone (--backbone) or fewer images."
        )


def fail(message: str) -> NoReturn:
    """Print an error as one red line, and exit with code 2."""
    click.secho(f"Error: {' '.join(message.split())}", fg="red", err=True)
    sys.exit(2)
