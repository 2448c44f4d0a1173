"""The command that adapts a classifier to another domain: adapt."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tlkit._internal.keras_import import import_keras
from tlkit.cli.shared import (
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
from tlkit.techniques.domain_adaptation.methods import METHODS, WITHOUT_SOURCE

if TYPE_CHECKING:
    from tlkit.data import Dataset
    from tlkit.reports.adaptation import Adaptation


@click.command()
@click.argument("source")
@click.argument("target")
@click.option("--out", type=Path, required=True, help="Folder for model.keras, metrics.json, report.html.")
@click.option(
    "--method",
    default="auto",
    show_default=True,
    help="auto: mcc on features, adamatch+mcc end to end. Or one of `tlkit adapt --list`, or several joined "
    "by +.",
)
@click.option(
    "--compare",
    default="",
    help="Further methods, joined by commas. Each is trained, and the report shows all side by side.",
)
@backbone_option()
@weights_option()
@click.option(
    "--features/--end-to-end",
    "features",
    default=None,
    help="Train the head on features, or the network.  [default: features where there are weights]",
)
@click.option("--evaluate", help="Labelled images of the target, used for evaluation alone.")
@list_option(
    "techniques.domain_adaptation.methods.METHODS", "techniques.domain_adaptation.methods.VALIDATORS"
)
@resume_option()
@training_options
def adapt(
    source: str,
    target: str,
    out: Path,
    method: str,
    compare: str,
    backbone: str,
    weights: str | None,
    features: bool | None,
    evaluate: str | None,
    image_size: int | None,
    epochs: int | None,
    seed: int,
    resume: bool,
    overwrite: bool,
) -> None:
    """Learn from labelled SOURCE for unlabelled TARGET: names of data sets, or folders of images.

    TARGET may be a folder without class sub-folders.

    SOURCE may also be the folder of a run of `tlkit train`. Its classifier then adapts to TARGET without its
    training images, by shot (the default) or adabn (--method). Of the other options, only --epochs,
    --evaluate, --seed, --out and --overwrite apply.
    """
    run = Path(source) if (Path(source) / "metrics.json").is_file() else None
    method = WITHOUT_SOURCE if run and method.lower() == "auto" else method
    compared = [name.strip() for name in compare.split(",") if name.strip()]
    for name in [*compared, *([] if method.lower() == "auto" else [method])]:
        METHODS.find(name)
    if run is not None and (resume or compared):
        raise click.UsageError(
            "A run is adapted by one method in one step. Leave out --resume and --compare."
        )
    claim(out, overwrite, resume)
    if run is not None:
        result = _adapted_run(run, target, method, evaluate, epochs, seed)
    else:
        network, size = backbone_and_size(source, backbone, image_size)
        import_keras()
        from tlkit.data import is_folder, load
        from tlkit.experiments import adapt as experiment

        # A source needs no test split, so all images of a folder are trained on.
        labelled = load(
            source, image_size=size, seed=seed, test=0.0 if is_folder(source) else 0.2, progress=bars()
        )
        unlabelled, evaluation = _target(target, evaluate, size)
        click.echo(labelled)
        click.echo(f"target: {target}, {len(unlabelled.train)} images without labels")
        result = experiment.adapt(
            labelled,
            unlabelled,
            method=method,
            features=features,
            backbone=network.name,
            weights=weights_of(weights, network),
            epochs=epochs,
            compare=compared,
            evaluate=evaluation,
            seed=seed,
            verbose=verbosity(),
            backup=state_in(out, overwrite, network),
        )
    if result.accuracies:
        reached = ", ".join(f"{name} {value:.1%}" for name, value in result.accuracies.items())
        click.echo(f"on the target: {reached}")
    finish(result, out)


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
