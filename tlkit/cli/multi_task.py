"""`tlkit train` with a table of labels: several tasks by one network."""

import shlex
import sys
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import click

from tlkit.cli.shared import interrupted, this_command
from tlkit.errors import TlkitError


def kinds_of(given: Sequence[str]) -> dict[str, str]:
    """Read `COLUMN=KIND` pairs.

    >>> kinds_of(["year=classification"])
    {'year': 'classification'}
    """
    kinds = {}
    for text in given:
        column, equals, kind = text.rpartition("=")
        if not equals or not column or not kind:
            raise TlkitError(
                f"--kind {text} was given; expected COLUMN=KIND, such as --kind size=classification. Kinds: "
                "classification, multi-label, regression."
            )
        kinds[column.strip()] = kind.strip().lower()
    return kinds


def train_on_table(
    data: str,
    labels: Path,
    out: Path,
    kinds: dict[str, str],
    balancing: str,
    *,
    image_size: int,
    validation: float,
    test: float,
    seed: int,
    **options: Any,
) -> None:
    """Read the table, say what each column was taken for, train, and write model and report."""
    from tlkit import multi_task_run, report
    from tlkit.callbacks import EpochLines
    from tlkit.data import load_table
    from tlkit.techniques.multi_task import find, tasks_for

    find(balancing)
    bars = sys.stderr.isatty()
    images = load_table(
        data,
        labels,
        image_size=image_size,
        validation=validation,
        test=test,
        seed=seed,
        progress=bars,
    )
    click.echo(images)
    tasks = tasks_for(images, kinds)
    for name, task in tasks.items():
        columns = [split.attributes[name] for split in images.splits.values()]
        click.echo(taken_for(name, task, [*chain(*columns)], asked=name in kinds))
    judge, part = (images.validation, "val_") if images.validation else (images.train, "")
    lines = {f"{part}loss": f"{'validation' if part else 'training'}: loss"}
    for name, task in tasks.items():
        if labelled(judge.attributes[name]):
            lines[f"{part}{name}_{task.measure}"] = f"{name} {task.measure}"
    run = multi_task_run.train_tasks(
        images,
        tasks=tasks,
        balancing=balancing.lower(),
        seed=seed,
        callbacks=[EpochLines("", lines)],
        progress=bars,
        **options,
    )
    measures, floors = run.measures(run.judged), run.baselines()
    click.echo(f"on the {run.judged} images, {run.seconds['total']:.0f} s:")
    for name, task in tasks.items():
        click.echo(f"  {name}: {result(task, measures[name], floors[name])}")
    written = report.write(run, out, command=this_command(), overwrite=True)
    click.secho(f"Report: {written / 'report.html'}", fg="green")
    interrupted(run)


def taken_for(name: str, task: Any, column: Sequence[str], *, asked: bool) -> str:
    """Say in one line what a column was taken for, and what to type where that is wrong."""
    line = f"{name}: {task.kind}, {labelled(column)} of {len(column)} images labelled, "
    if task.kind != "regression":
        return f"{line}{task.outputs} {'classes' if task.kind == 'classification' else 'labels'}"
    line += f"mean {task.mean:.4g}"
    return line if asked else f"{line}; wrong? --kind {shown(name)}=classification"


def labelled(column: Iterable[str]) -> int:
    """Count the values that are there."""
    from tlkit.techniques.multi_task.writing import is_missing

    return sum(not is_missing(value) for value in column)


def shown(name: str) -> str:
    """Return a column's name as a shell takes it.

    >>> shown("size"), shown("hair colour")
    ('size', "'hair colour'")
    """
    return shlex.quote(name)


def result(task: Any, measure: float | None, floor: float | None) -> str:
    """Say how good a task is, and how good the best constant answer."""
    if measure is None or floor is None:
        return "no label to judge it by"
    if task.higher_is_better:
        return f"accuracy {measure:.1%} (best constant answer {floor:.1%})"
    return f"mean absolute error {measure:.4g} (best constant answer {floor:.4g})"
