"""The commands that use a model or list what there is: predict, backbones, datasets."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("model", type=Path)
@click.argument("images", type=Path, nargs=-1, required=True)
@click.option("--top", type=click.IntRange(1), default=1, show_default=True, help="Answers for each image.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def predict(model: Path, images: Sequence[Path], top: int, as_json: bool) -> None:
    """Name what is on IMAGES (files or folders) with MODEL, a model.keras of `tlkit train` or its folder."""
    from tlkit import prediction
    from tlkit.multi_task_prediction import in_words

    answers = prediction.predict(model, images, top=top)
    if as_json:
        click.echo(json.dumps(answers, indent=2, ensure_ascii=False))
        return
    for answer in answers:
        if "tasks" in answer:
            click.echo(f"{answer['image']}: {in_words(answer['tasks'])}")
            continue
        named = ", ".join(f"{each['class']} {each['probability']:.1%}" for each in answer["classes"])
        click.echo(f"{answer['image']}: {named}")


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
    """List the data sets that work offline; a folder or tfds:NAME works as well."""
    from tlkit.data import list_datasets

    rows = [
        {
            "name": card.name,
            "title": card.title,
            "classes": len(card.classes),
            **card.counts,
            "image_size": card.image_size,
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
