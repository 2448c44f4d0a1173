"""The command that prints a script to start a project from: recipe."""

from pathlib import Path

import click


@click.command()
@click.argument("name", required=False)
@click.option("--out", type=Path, help="File to write instead of printing.")
@click.option("--overwrite", is_flag=True, help="Replace the file.")
def recipe(name: str | None, out: Path | None, overwrite: bool) -> None:
    """Print the script NAME: plain Keras to copy into a project. Without NAME, list them."""
    from tlkit import recipes

    if name is None:
        if out is not None:
            raise click.UsageError("Name the recipe to write; `tlkit recipe` lists them.")
        for each in recipes.RECIPES:
            click.echo(f"{each.name:<21} {each.does} Lesson {each.lessons[0]}.")
        return
    found = recipes.find(name)
    if out is None:
        click.echo(found.text, nl=False)
        return
    click.secho(f"Recipe: {found.write(out, overwrite)}. Edit the constants at its top.", fg="green")
