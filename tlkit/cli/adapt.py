"""The command that adapts a classifier to another domain: adapt."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlkit._internal.keras_import import import_keras
from tlkit.cli.shared import (
    Number,
    backbone_and_size,
    backbone_option,
    bars,
    claim,
    finish,
    list_option,
    resume_option,
    state_in,
    training_options,
    verbosity,
    weights_of,
    weights_option,
)
from tlkit.errors import TlkitError
from tlkit.techniques.domain_adaptation.methods import METHODS, VALIDATORS

if TYPE_CHECKING:
    from tlkit.data import Dataset
    from tlkit.reports.adaptation import Adaptation


@click.command()
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE... [TARGET]")
@click.option("--target", help="The target, if there are several sources.")
@click.option("--out", type=Path, required=True, help="Folder for model.keras, metrics.json, report.html.")
@click.option(
    "--method",
    default="auto",
    show_default=True,
    help="auto: several methods vote. Or one of `tlkit adapt --list`, or several joined by +.",
)
@backbone_option()
@weights_option()
@click.option(
    "--features/--end-to-end",
    "on_features",
    default=None,
    help="Train the head on features, or the network.  [default: features where there are weights]",
)
@click.option(
    "--validator",
    help="For one method: score that chooses the epoch without target labels. See `tlkit adapt --list`.  "
    "[default: the last epoch]",
)
@click.option(
    "--minutes",
    type=Number(0, min_open=True, infinite=True),
    default=5.0,
    show_default=True,
    help="With auto and --end-to-end: time limit of each training; that of the voters has no limit.",
)
@click.option("--evaluate", help="Labelled images of the target, used for evaluation alone.")
@list_option(
    "techniques.domain_adaptation.methods.METHODS",
    "techniques.domain_adaptation.methods.STREAM_METHODS",
    "techniques.domain_adaptation.methods.VALIDATORS",
)
@resume_option()
@training_options
def adapt(
    sources: tuple[str, ...],
    target: str | None,
    out: Path,
    method: str,
    backbone: str,
    weights: str | None,
    on_features: bool | None,
    validator: str | None,
    minutes: float,
    evaluate: str | None,
    image_size: int | None,
    epochs: int | None,
    seed: int,
    resume: bool,
    overwrite: bool,
) -> None:
    """Learn from labelled SOURCE for unlabelled TARGET: names of data sets, or folders of images.

    TARGET may be a folder without class sub-folders.

    To learn from several sources with the same classes, name the target by an option:

        tlkit adapt PHOTOS SKETCHES --target PAINTINGS --out RUN

    SOURCE may also be the folder of a run of `tlkit train`. Its classifier then adapts to TARGET without its
    training images, by shot (the default), adabn or tent (--method). Of the other options, only --epochs,
    --evaluate, --seed, --out and --overwrite apply.
    """
    names, target = _domains(sources, target)
    runs = [Path(each) for each in names if (Path(each) / "metrics.json").is_file()]
    if runs and len(names) > 1:
        raise TlkitError(
            f"{runs[0]} is the folder of a run. Adapt one run at a time: tlkit adapt RUN TARGET."
        )
    run = runs[0] if runs else None
    method = "shot" if run and method.lower() == "auto" else method
    if method.lower() != "auto":
        METHODS.find(method)
    chosen = None if validator in (None, "none") else VALIDATORS.find(validator).name
    if run is not None and resume:
        raise click.UsageError("A run is adapted in one step. Leave out --resume.")
    claim(out, overwrite, resume)
    if run is not None:
        result = _adapted_run(run, target, method, evaluate, epochs, seed)
    else:
        network, size = backbone_and_size(names[0], backbone, image_size)
        import_keras()
        from tlkit.experiments import adapt as experiment

        labelled = [_source(name, size, seed) for name in names]
        unlabelled, evaluation = _target(target, evaluate, size)
        for each in labelled:
            click.echo(each)
        click.echo(f"target: {target}, {len(unlabelled.train)} images without labels")
        result = experiment.adapt(
            labelled,
            unlabelled,
            method=method,
            backbone=network.name,
            weights=weights_of(weights, network),
            on_features=on_features,
            validator=chosen,
            epochs=epochs,
            minutes=minutes,
            evaluate=evaluation,
            seed=seed,
            verbose=verbosity(),
            backup=state_in(out, overwrite, network),
        )
    known = {name: value for name, value in result.accuracies.items() if value is not None}
    if known:
        click.echo("on the target: " + ", ".join(f"{name} {value:.1%}" for name, value in known.items()))
    finish(result, out)


def _domains(given: tuple[str, ...], target: str | None) -> tuple[tuple[str, ...], str]:
    """Return the sources and the target; without `--target`, the second of two names is the target."""
    if target is not None:
        return given, target
    if len(given) != 2:
        raise TlkitError(
            f"Got {len(given)} {'name' if len(given) == 1 else 'names'} and no --target; expected SOURCE "
            "TARGET, or several sources and --target TARGET."
        )
    return given[:1], given[1]


def _source(name: str, size: int, seed: int) -> "Dataset":
    """Load a labelled source."""
    from tlkit.data import is_folder, load

    # a source needs no test split, so all images of a folder are trained on
    test = 0.0 if is_folder(name) else 0.2
    return load(name, image_size=size, seed=seed, test=test, progress=bars())


def _adapted_run(
    run: Path, target: str, method: str, evaluate: str | None, epochs: int | None, seed: int
) -> "Adaptation":
    """Adapt the classifier of a run without its source."""
    import_keras()
    from tlkit.deployment.saved_run import open_run
    from tlkit.experiments.adapt_model import adapt_model

    opened = open_run(run)
    unlabelled, evaluation = _target(target, evaluate, opened.model.input_shape[1])
    click.echo(f"target: {target}, {len(unlabelled.train)} images without labels")
    return adapt_model(
        opened.model,
        unlabelled,
        class_names=opened.class_names,
        method=method,
        epochs=epochs,
        evaluate=evaluation,
        seed=seed,
        verbose=verbosity(),
    )


def _target(target: str, evaluate: str | None, size: int) -> "tuple[Dataset, Dataset | None]":
    """Load the target and, if there are any, the labelled images that evaluate the result."""
    from tlkit.data import is_folder, load, load_unsorted

    read = load_unsorted if is_folder(target) else load
    unlabelled = read(target, image_size=size, progress=bars())
    if not evaluate:
        return unlabelled, None
    # all images of a folder; a data set has its own splits
    fraction = 0.0 if is_folder(evaluate) else 0.2
    return unlabelled, load(evaluate, image_size=size, validation=fraction, test=fraction, progress=bars())
