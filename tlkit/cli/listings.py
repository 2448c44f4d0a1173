"""The commands that list what there is: backbones, datasets, recipe."""

import json
from pathlib import Path
from typing import Any

import click

from tlkit.cli.shared import list_option


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def backbones(as_json: bool) -> None:
    """List the pretrained networks, and whether their weights are on this machine."""
    from tlkit.backbones import list_backbones

    rows = [
        {
            "name": each.name,
            "parameters": each.parameters,
            "megabytes": round(each.megabytes, 1),
            "default_size": each.default_size,
            "smallest_size": each.smallest_size,
            "weights": each.weights_source,
            "here": each.available,
        }
        for each in list_backbones()
    ]
    show(rows, as_json)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def datasets(as_json: bool) -> None:
    """List the data sets, and which are on this machine; a folder or tfds:NAME works as well.

    Those of solar need: pip install 'tlkit[solar]'. Those of clothing are downloaded when they are first
    used, or found in the folder that TLKIT_DATA names.
    """
    from tlkit.data import is_here, list_datasets

    rows = [
        {
            "name": card.name,
            "title": card.title,
            "classes": len(card.classes),
            **card.counts,
            "image_size": card.image_size,
            "here": is_here(card.name),
            "licence": card.licence,
        }
        for card in list_datasets()
    ]
    show(rows, as_json)


def show(rows: list[dict[str, Any]], as_json: bool) -> None:
    """Print rows as JSON or as a table."""
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    import pandas as pd

    click.echo(pd.DataFrame(rows).to_string(index=False))


@click.command()
@click.argument("name")
@click.option("--out", type=Path, help="File to write instead of printing.")
@click.option("--overwrite", is_flag=True, help="Replace the file.")
@list_option("recipes.RECIPES")
def recipe(name: str, out: Path | None, overwrite: bool) -> None:
    """Print the script NAME: plain Keras to copy into a project; `tlkit recipe --list` explains each."""
    from tlkit.recipes import RECIPES

    found = RECIPES.find(name)
    if out is None:
        click.echo(found.text, nl=False)
        return
    click.secho(f"Recipe: {found.write(out, overwrite)}. Edit the constants at its top.", fg="green")
