"""The command that extracts the features of an image folder of any size: features."""

import sys
from pathlib import Path

import click

from tlkit._internal.keras_import import import_keras
from tlkit.cli.shared import (
    backbone_and_size,
    backbone_option,
    bars,
    image_size_option,
    list_option,
    weights_of,
    weights_option,
)


@click.command()
@click.argument("folder", type=Path)
@click.option("--out", type=Path, required=True, help="Folder for the Parquet files.")
@backbone_option()
@weights_option()
@image_size_option()
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Run in this process, or with workers on a Ray cluster.",
)
@click.option(
    "--shard-size", type=click.IntRange(1), default=1000, show_default=True, help="Images per file."
)
@click.option(
    "--workers", type=click.IntRange(1), help="Number of Ray workers.  [default: one per four cores]"
)
@click.option("--address", help="Address of the Ray cluster, or auto.  [default: this machine only]")
@list_option("backbones.registry.BACKBONES")
@click.option("--overwrite", is_flag=True, help="Start again, and delete the earlier features in --out.")
def features(
    folder: Path,
    out: Path,
    backbone: str,
    weights: str | None,
    image_size: int | None,
    engine: str,
    shard_size: int,
    workers: int | None,
    address: str | None,
    overwrite: bool,
) -> None:
    """Extract the features of all images in FOLDER, however many, into Parquet files.

    After Ctrl-C or a crash, the same command continues.
    """
    if engine == "local" and (workers or address):
        raise click.UsageError("--workers and --address need --engine ray.")
    row, size = backbone_and_size(str(folder), backbone, image_size)
    keras = import_keras()
    from tlkit import scale_out
    from tlkit.backbones import load_backbone
    from tlkit.scale_out import shards

    keras.utils.set_random_seed(0)  # the same random weights when the command continues
    network = load_backbone(row.name, weights=weights_of(weights, row), image_size=size)
    try:
        done = scale_out.extract(
            folder,
            out,
            network,
            engine=engine,
            shard_size=shard_size,
            workers=workers,
            address=address,
            overwrite=overwrite,
            progress=bars(),
        )
    except KeyboardInterrupt:
        finished = len(shards.shard_paths(out))
        click.secho(
            f"Interrupted by Ctrl-C: {finished} shards are finished and kept. The same command continues.",
            fg="yellow",
            err=True,
        )
        sys.exit(130)
    images, _ = scale_out.verify(out)
    click.echo(
        f"{folder}: {images:,} images in {done.shards:,} shards ({done.made:,} of them new), "
        f"{done.width:,} features per image; {done.seconds:.0f} s"
    )
    click.secho(f"Features: {out}", fg="green")
    click.echo(
        "Read the features in Python: from tlkit import scale_out; "
        f"features, names, labels, class_names = scale_out.read({str(out)!r})"
    )
