"""What several commands share: options, lists of methods, and how a result is written."""

import importlib
import math
import shlex
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tlkit._internal import outputs
from tlkit._internal.seeds import LARGEST
from tlkit._internal.sizes import MAX_EPOCHS, MAX_IMAGE_SIZE
from tlkit.backbones.registry import BACKBONES, Backbone
from tlkit.errors import OutputError

if TYPE_CHECKING:
    from tlkit.reports.result import Result

STATES = 10  # float32 copies of a network: two states with the optimizer, and the model
OUT = "tlkit.out"  # key of the reserved folder in the context of a command

seed_option = partial(click.option, "--seed", type=click.IntRange(0, LARGEST), default=0, show_default=True)
overwrite_option = partial(
    click.option, "--overwrite", is_flag=True, help="Replace the files of an earlier run in --out."
)
resume_option = partial(click.option, "--resume", is_flag=True, help="Continue an interrupted run in --out.")
image_size_option = partial(
    click.option,
    "--image-size",
    type=click.IntRange(1, MAX_IMAGE_SIZE),
    help="Height and width in pixels.  [default: that of the data set, or else of the backbone]",
)
backbone_option = partial(
    click.option, "--backbone", default="EfficientNetLite0", show_default=True, help="See `tlkit backbones`."
)
weights_option = partial(
    click.option,
    "--weights",
    help="imagenet, none (random), or a weights file.  [default: imagenet where there are any]",
)


def training_options(command: Any) -> Any:
    """Add the options that every training command has."""
    for option in (
        overwrite_option(),
        seed_option(),
        click.option(
            "--epochs",
            type=click.IntRange(1, MAX_EPOCHS),
            help="At most.  [default: depends on the number of images]",
        ),
        image_size_option(),
    ):
        command = option(command)
    return command


def split_options(command: Any) -> Any:
    """Add `--validation` and `--test`, the fractions of the data that are split off."""
    for name in ("--test", "--validation"):
        option = click.option(
            name, type=Number(0, 1), default=0.2, show_default=True, help="Fraction split off."
        )
        command = option(command)
    return command


def list_option(*tables: str) -> Callable[[Any], Any]:
    """Add `--list`, which explains every row of some registries in a line and exits.

    Args:
        tables: such as `"techniques.multi_task.methods.BALANCINGS"`.
    """

    def show(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if not value or context.resilient_parsing:
            return
        for table in tables:
            module, _, name = table.rpartition(".")
            registry = getattr(importlib.import_module(f"tlkit.{module}"), name)
            if len(tables) > 1:
                click.secho(f"{registry.kind}:", bold=True)
            width = max(map(len, registry.names))
            for row in registry:
                click.echo(f"{row.name:<{width}} {explained(row)}")
        context.exit()

    return click.option(
        "--list",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        help="Explain each choice in a line, and exit.",
    )


def explained(row: Any) -> str:
    """Describe a row of a registry in one line, with the paper or the lesson that explains it."""
    lessons = getattr(row, "lessons", ())
    source = f"lesson {lessons[0]}" if lessons else getattr(row, "paper", "")
    return row.summary.rstrip(".") + (f" ({source})" if source else "")


def weights_of(given: str | None, network: Backbone) -> str | None:
    """Return the weights for a backbone: None for random ones."""
    if given is None:
        return "imagenet" if network.weights_file else None
    return None if given.lower() == "none" else given


def backbone_and_size(data: str, name: str, image_size: int | None) -> tuple[Backbone, int]:
    """Return the row of a backbone, and the size to read images at; an impossible size fails here."""
    network = BACKBONES.find(name)
    size = image_size or max(card_size(data) or network.default_size, network.smallest_size)
    network.check_size(size)
    return network, size


def card_size(data: str) -> int | None:
    """Return the image size of a data set; None for a folder."""
    from tlkit.data import list_datasets

    return ({card.name: card.image_size for card in list_datasets()} | {"emoji": 128}).get(data)


def claim(out: Path, overwrite: bool = False, resume: bool = False) -> None:
    """Reserve the folder of the results until the command ends; see `outputs.claimed`."""
    if resume and overwrite:
        raise click.UsageError("Give --resume to continue, or --overwrite to start again, not both.")
    from tlkit._internal.cache import METRICS  # imports NumPy, which `tlkit --help` does not need

    context = click.get_current_context()
    for folder in _arguments(context):
        if _is_inside(out, folder) and not (folder / METRICS).is_file():
            raise OutputError(f"{out} is inside {folder}, the folder of images. Choose an --out outside it.")
    context.with_resource(outputs.claimed(out, overwrite, resume))
    context.meta[OUT] = out


def _arguments(context: click.Context) -> Iterator[Path]:
    """Yield the arguments of a command, each of which may be a folder."""
    for parameter in context.command.params:
        given = context.params.get(parameter.name or "") if isinstance(parameter, click.Argument) else None
        yield from (Path(each) for each in (given if isinstance(given, tuple) else [given]) if each)


def _is_inside(out: Path, folder: Path) -> bool:
    """Whether a path is a folder or below it; not if the system cannot resolve one of them."""
    try:
        return folder.is_dir() and out.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a name that is too long, or a loop of links
        return False


def state_in(out: Path, overwrite: bool, network: Backbone) -> Path:
    """Return the folder for the state of a training; with `overwrite`, an earlier state is removed.

    Raises:
        OutputError: the disk has too little room for the states and the results of such a network.
    """
    if overwrite:
        outputs.discard(out)
    outputs.check_space(out, STATES * 4 * network.parameters)
    return out / outputs.UNFINISHED


def bars() -> bool:
    """Whether to show progress bars: on a terminal."""
    return sys.stderr.isatty()


def verbosity() -> int:
    """Return Keras's `verbose`: progress bars on a terminal, one line for each epoch in a log."""
    return 1 if bars() else 2


def finish(result: "Result", out: Path | None) -> None:
    """Write a result into a folder if there is one; exit with the code of Ctrl-C if it was interrupted.

    The state of a training that is complete is removed.
    """
    from tlkit.reports.result import write_report

    if out is not None:
        written = write_report(result, out, command=this_command(), overwrite=True)
        click.secho(f"Report: {written / 'report.html'}", fg="green")
    if getattr(result, "interrupted", False):
        interrupted("" if out is None else ": the best model until then was written", out)
    if out is not None:
        outputs.discard(out)


def interrupted(said: str = "", out: Path | None = None) -> NoReturn:
    """Say that Ctrl-C ended the command, and how to continue; exit with code 130."""
    more = " The same command with --resume continues." if out and outputs.unfinished(out) else ""
    click.secho(f"Interrupted by Ctrl-C{said}.{more}", fg="yellow", err=True)
    sys.exit(130)


def this_command() -> str:
    """Return the command line that is running, ready to be pasted."""
    return shlex.join(["tlkit", *sys.argv[1:]])


class Number(click.FloatRange):
    """A number within a range; never NaN, and infinite only where that is allowed."""

    def __init__(self, *arguments: Any, infinite: bool = False, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.infinite = infinite

    def convert(self, value: Any, param: Any, context: Any) -> float:
        found = super().convert(value, param, context)
        if math.isnan(found) or (math.isinf(found) and not self.infinite):
            self.fail(f"{value!r} is not a finite number.", param, context)
        return found


class Names(click.ParamType):
    """Names with commas between them."""

    name = "NAME,NAME,..."

    def convert(self, value: Any, param: Any, context: Any) -> tuple[str, ...]:
        names = tuple(each.strip() for each in value.split(","))
        if not all(names):
            self.fail(f"{value!r} has an empty name between its commas.", param, context)
        return names


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
