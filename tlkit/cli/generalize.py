"""The command that trains a classifier for an unseen domain: generalize."""

from pathlib import Path

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
    training_options,
    verbosity,
    weights_of,
    weights_option,
)
from tlkit.errors import TlkitError
from tlkit.techniques.domain_generalization.methods import METHODS


@click.command()
@click.argument("domains", nargs=-1, required=True, metavar="DOMAIN DOMAIN...")
@click.option("--out", type=Path, required=True, help="Folder for model.keras, metrics.json, report.html.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    help="One of `tlkit generalize --list`; can be repeated.  [default: all]",
)
@backbone_option()
@weights_option()
@click.option(
    "--minutes",
    type=Number(0, min_open=True, infinite=True),
    default=5.0,
    show_default=True,
    help="About how long a training takes at most; there is one for each method and domain, and a last one.",
)
@list_option("techniques.domain_generalization.methods.METHODS")
@training_options
def generalize(
    domains: tuple[str, ...],
    out: Path,
    methods: tuple[str, ...],
    backbone: str,
    weights: str | None,
    minutes: float,
    image_size: int | None,
    epochs: int | None,
    seed: int,
    overwrite: bool,
) -> None:
    """Learn from all DOMAINs for an unseen domain, and compare methods for it.

    A DOMAIN is the name of a data set, or a folder with one sub-folder for each class; all have the same
    classes. Each is left out once: every method learns from the others and is evaluated on it. The best
    method then trains model.keras on all of them.
    """
    if len(domains) < 2:
        raise TlkitError(
            "One domain was given; expected at least 2, and better 3 or more, with the same classes."
        )
    chosen = [METHODS.find(name).name for name in methods] or None
    claim(out, overwrite)
    network, size = backbone_and_size(domains[0], backbone, image_size)
    import_keras()
    from tlkit.data import is_folder, load
    from tlkit.experiments import generalize as experiment

    # a domain is evaluated as a whole when it is left out, so a folder needs no test split
    loaded = [
        load(name, image_size=size, seed=seed, test=0.0 if is_folder(name) else 0.2, progress=bars())
        for name in domains
    ]
    for each in loaded:
        click.echo(each)
    result = experiment.generalize(
        loaded,
        methods=chosen,
        backbone=network.name,
        weights=weights_of(weights, network),
        epochs=epochs,
        minutes=minutes,
        seed=seed,
        verbose=verbosity(),
    )
    for row in result.metrics()["methods"]:
        click.echo(f"{result.measure.replace('_', ' ')} on unseen domains: {row['name']} {row['mean']:.1%}")
    click.secho(result.answer, bold=True)
    finish(result, out)
