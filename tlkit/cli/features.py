"""The command that writes the features of a folder of any size: features."""

import sys
from pathlib import Path

import click

from tlkit.backbones import registry
from tlkit.cli.shared import image_size_for, progress
from tlkit.quiet import import_keras


@click.command()
@click.argument("folder", type=Path)
@click.option("--out", type=Path, required=True, help="Folder for the Parquet files.")
@click.option("--backbone", default="EfficientNetLite0", show_default=True, help="See `tlkit backbones`.")
@click.option("--weights", default="imagenet", show_default=True, help="imagenet, none, or a weights file.")
@click.option("--image-size", type=click.IntRange(1), help="Height and width in pixels.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="This process, or workers on a Ray cluster.",
)
@click.option(
    "--shard-size", type=click.IntRange(1), default=1000, show_default=True, help="Images in a file."
)
@click.option("--workers", type=click.IntRange(1), help="On Ray.  [default: one for four cores]")
@click.option("--address", help="Of the Ray cluster, or auto.  [default: this machine alone]")
@click.option("--overwrite", is_flag=True, help="Begin anew, whatever lies in --out.")
def features(
    folder: Path,
    out: Path,
    backbone: str,
    weights: str,
    image_size: int | None,
    engine: str,
    shard_size: int,
    workers: int | None,
    address: str | None,
    overwrite: bool,
) -> None:
    """Write the features of the images in FOLDER, of any number, into Parquet files.

    After Ctrl-C or a crash the same command goes on where it was.
    """
    if engine == "local" and (workers or address):
        raise click.UsageError("--workers and --address are about Ray: give --engine ray too.")
    row = registry.find(backbone)
    size = image_size_for(str(folder), row, image_size)
    keras = import_keras()
    from tlkit import scale_out
    from tlkit.backbones import get
    from tlkit.scale_out import shards

    keras.utils.set_random_seed(0)  # the same random weights when the command goes on
    network = get(row.name, weights=None if weights.lower() == "none" else weights, image_size=size)
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
            progress=progress()["progress"],
        )
    except KeyboardInterrupt:
        finished = len(shards.files(out))
        click.secho(
            f"Stopped by Ctrl-C: {finished} shards are finished and stay. The same command goes on.",
            fg="yellow",
            err=True,
        )
        sys.exit(130)
    images, _ = scale_out.verify(out)
    click.echo(
        f"{folder}: {images:,} images, each once, {done.width:,} features of each; {done.shards:,} shards, "
        f"{done.made:,} of them made now; {done.seconds:.0f} s"
    )
    click.secho(f"Features: {out}", fg="green")
    click.echo(
        "Read them in Python: from tlkit import scale_out; "
        f"features, names, labels, class_names = scale_out.read({str(out)!r})"
    )
