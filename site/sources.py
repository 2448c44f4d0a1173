"""Lay out the pages of the site: what is written in site/pages, and what the project says of itself.

Nothing here is typed twice: the lessons, the data sets' cards, the figures of the benchmarks, the public
names and the commands come from where they are defined.
"""

import base64
import re
import shutil
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from types import ModuleType

import click
import jinja2
import numpy as np
from PIL import Image
from speed_tables import speed

import tlkit
from tlkit.cli import cli as commands
from tlkit.course.lessons import Lesson, lessons
from tlkit.course.opening import FILE
from tlkit.errors import DataError
from tlkit.recipes import RECIPES

HERE = Path(__file__).parent
ROOT = HERE.parent

# The pages of the reference: a subject, and the modules whose public names it has.
SUBJECTS = {
    "data": ["tlkit.data"],
    "backbones": ["tlkit.backbones"],
    "models": ["tlkit.models"],
    "callbacks": ["tlkit.callbacks"],
    "feature extraction": ["tlkit.techniques.feature_extraction", "tlkit.techniques.solved_head"],
    "fine-tuning": [
        "tlkit.techniques.fine_tuning",
        "tlkit.techniques.robust_fine_tuning",
        "tlkit.techniques.repeated_training",
        "tlkit.techniques.learning_rate",
        "tlkit.optimizers",
        "tlkit.techniques.frozen_trunk",
        "tlkit.techniques.views",
    ],
    "few labels": ["tlkit.techniques.few_shot"],
    "continual learning": ["tlkit.techniques.continual_learning"],
    "domain adaptation": ["tlkit.techniques.domain_adaptation"],
    "multi-task learning": ["tlkit.techniques.multi_task"],
    "self-supervised learning": ["tlkit.techniques.self_supervised"],
    "task similarity": ["tlkit.challenges.task_similarity"],
    "overfitting": ["tlkit.challenges.overfitting"],
    "dataset size": ["tlkit.challenges.dataset_size"],
    "model selection": ["tlkit.challenges.model_selection"],
    "plots": ["tlkit.plots", "tlkit.plots.saliency", "tlkit.plots.audit"],
    "experiments": [
        "tlkit.experiments",
        "tlkit.experiments.train",
        "tlkit.experiments.train_tasks",
        "tlkit.experiments.adapt",
        "tlkit.experiments.pretrain",
        "tlkit.experiments.select",
        "tlkit.experiments.similarity",
        "tlkit.experiments.label_counts",
        "tlkit.experiments.audit",
        "tlkit.experiments.compare",
    ],
    "results and reports": [
        "tlkit.reports",
        "tlkit.reports.result",
        "tlkit.reports.training",
        "tlkit.reports.tasks",
        "tlkit.reports.adaptation",
        "tlkit.reports.pretraining",
        "tlkit.reports.selection",
        "tlkit.reports.similarity",
        "tlkit.reports.label_counts",
        "tlkit.reports.comparison",
        "tlkit.reports.statistics",
        "tlkit.reports.document",
    ],
    "deployment": [
        "tlkit.deployment",
        "tlkit.deployment.predict",
        "tlkit.deployment.evaluate",
        "tlkit.deployment.saved_run",
        "tlkit.deployment.card",
        "tlkit.deployment.export",
        "tlkit.deployment.formats",
        "tlkit.deployment.serve",
    ],
    "features of any size": ["tlkit.scale_out", "tlkit.scale_out.on_ray"],
    "recipes": ["tlkit.recipes"],
    "course": ["tlkit.course", "tlkit.course.exercises", "tlkit.course.lessons", "tlkit.course.copies"],
    "errors": ["tlkit.errors"],
}


def lay_out(pages: Path) -> None:
    """Write every source page of the site into a new folder."""
    shutil.copytree(ROOT / "notebooks", pages / "notebooks", ignore=shutil.ignore_patterns(".*"))
    shutil.copytree(ROOT / "benchmarks", pages / "pictures", ignore=lambda _, names: without_pictures(names))
    series = lessons(ROOT / "notebooks")
    for lesson in series:
        whole = opening(lesson)
        (pages / "pictures" / f"{lesson.number}.png").write_bytes(whole)
        card = left_part(Image.open(BytesIO(whole)))
        card.save(pages / "pictures" / f"card-{lesson.number}.png", optimize=True)
    cards = tlkit.list_datasets()
    here = [card.name for card in cards if tlkit.data.is_here(card.name)]
    for name in here:
        contact_strip(name).save(pages / "pictures" / f"{name.replace('/', '-')}.png", optimize=True)
    shutil.copy(ROOT / "data" / "demo.png", pages / "pictures")
    given = {
        "repository": repository(),
        "install": section((ROOT / "README.md").read_text("utf-8"), "Install"),
        "series": series,
        "openings": {lesson.number: says(lesson) for lesson in series},
        "lesson": lambda number: lesson_link(series, number),
        "cards": cards,
        "here": here,
        "speed": speed(),
        "recipes": RECIPES,
        "subjects": (by_subject := subjects()),
        "names": {name: (home(name, by_subject), summary(name)) for name in tlkit.__all__},
        "helps": dict(helps(commands, "tlkit")),
    }
    environment = templates()
    for template in environment.list_templates():
        if not template.startswith("_"):
            page = on_site(environment.get_template(template).render(given))
            (pages / template).write_text(page, encoding="utf-8")
    (pages / "api").mkdir()
    for subject, modules in by_subject.items():
        page = environment.get_template("_subject.rst").render(subject=subject, modules=modules)
        (pages / "api" / f"{slug(subject)}.rst").write_text(page, encoding="utf-8")


def on_site(page: str) -> str:
    """Return a page whose links to files of the repository lead to their places on the site.

    >>> on_site("![A bar](../../benchmarks/audit.png), [lesson](../../notebooks/00_start_here.ipynb)")
    '![A bar](pictures/audit.png), [lesson](notebooks/00_start_here.ipynb)'
    """
    page = re.sub(r"\((?:\.\./\.\./)(?:benchmarks|data)/(\w+\.png)\)", r"(pictures/\1)", page)
    return page.replace("(../../notebooks/", "(notebooks/")


def repository() -> str:
    """Return the public address of the repository, or "" if it has none.

    It is set as `Repository` of `project.urls` in pyproject.toml. Links to the repository, Colab and Binder
    follow from it.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return project.get("urls", {}).get("Repository", "")


def section(text: str, heading: str) -> str:
    """Return the text below a heading of a Markdown text.

    >>> section("## Use\\n\\nLike this.\\n\\n## Licence\\n\\nApache", "Use")
    'Like this.'
    """
    return f"\n{text}".split(f"\n## {heading}\n")[1].split("\n## ")[0].strip()


def templates() -> jinja2.Environment:
    """Return the templates in site/pages; a name that a template does not get is an error."""
    loader = jinja2.FileSystemLoader(HERE / "pages")
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["slug"] = slug
    return environment


def slug(text: str) -> str:
    """Return a file name.

    >>> slug("fine-tuning"), slug("task similarity")
    ('fine-tuning', 'task-similarity')
    """
    return text.lower().replace(" ", "-")


def without_pictures(names: list[str]) -> set[str]:
    """Return the names that are no pictures."""
    return {name for name in names if not name.endswith(".png")}


def opening(lesson: Lesson) -> bytes:
    """Return the picture at the top of a lesson, as PNG.

    Raises:
        DataError: the lesson was not executed.
    """
    attached = lesson.notebook.cells[0].get("attachments", {})
    if FILE not in attached:
        raise DataError(
            f"{lesson.path.name} has no picture above its text. Run `make execute LESSONS=notebooks/"
            f"{lesson.path.name}` first: the site shows lessons as they were executed."
        )
    return base64.b64decode(attached[FILE]["image/png"])


def left_part(picture: Image.Image, ratio: float = 2.4, least: int = 550) -> Image.Image:
    """Return the left part of a long row of images, cut between two of them: a card can show it large.

    Args:
        picture: the picture above the text of a lesson.
        ratio: of width to height, the largest of the part.
        least: the width in pixels up to which a part may be wider than this ratio. A picture that has no
            white column between two thirds of this width and the width is returned whole.

    >>> left_part(Image.new("RGB", (900, 300), "white")).size
    (720, 300)
    """
    darkest = np.asarray(picture.convert("L")).min(axis=0)
    most = max(least, round(ratio * picture.height))
    if picture.width <= most:
        return picture
    gap = 6  # white columns in a row; narrower ones lie within a figure
    white = np.convolve(darkest == 255, np.ones(gap), "valid") == gap
    cuts = np.flatnonzero(white[: most - gap + 1]) + gap
    if not len(cuts) or cuts[-1] < most * 2 / 3:
        return picture
    return picture.crop((0, 0, int(cuts[-1]), picture.height))


def says(lesson: Lesson) -> str:
    """Return the alternative text of the picture at the top of a lesson."""
    found = re.search(rf"!\[([^\]]+)\]\(attachment:{FILE}\)", lesson.notebook.cells[0].source)
    return " ".join(found[1].split()) if found else f"The task of lesson {lesson.number}"


def lesson_link(series: list[Lesson], number: str) -> str:
    """Return a Markdown link to a lesson, or plain text where there is no such lesson yet."""
    for lesson in series:
        if lesson.number == number:
            return f"[lesson {number}](notebooks/{lesson.path.name})"
    return f"lesson {number}"


def contact_strip(name: str, pixels: int = 72, most: int = 12) -> Image.Image:
    """Return one picture of each class of a data set, side by side."""
    train = tlkit.load(name).train
    first = [int(np.flatnonzero(train.labels == label)[0]) for label in np.unique(train.labels)[:most]]
    pictures = [
        Image.fromarray(train.images[i]).resize((pixels, pixels), Image.Resampling.LANCZOS) for i in first
    ]
    strip = Image.new("RGB", (len(first) * pixels, pixels))
    for i, picture in enumerate(pictures):
        strip.paste(picture, (i * pixels, 0))
    return strip


def subjects() -> dict[str, list[str]]:
    """Return the pages of the reference; what is public and on none of them is put on one of its own."""
    found = {subject: [each for each in modules if find_spec(each)] for subject, modules in SUBJECTS.items()}
    found = {subject: modules for subject, modules in found.items() if modules}
    values = [getattr(tlkit, name) for name in tlkit.__all__ if not home(name, found)]
    more = {"more": sorted({value.__module__ for value in values})} if values else {}
    return found | more


def home(name: str, subjects: dict[str, list[str]]) -> str:
    """Return under which name the reference explains a public name of `tlkit`, or "".

    >>> home("load", SUBJECTS), home("plots", SUBJECTS)
    ('tlkit.data.load', 'tlkit.plots')
    """
    value = getattr(tlkit, name)
    if isinstance(value, ModuleType):
        return value.__name__
    modules = (module for modules in subjects.values() for module in modules)
    return next(
        (f"{each}.{name}" for each in modules if getattr(import_module(each), name, None) is value), ""
    )


def summary(name: str) -> str:
    """Return the first sentence that a public name of `tlkit` says of itself, on one line.

    >>> summary("list_datasets")
    'Return the cards of the data sets that `load` knows by name.'
    """
    return " ".join((getattr(tlkit, name).__doc__ or "").strip().split("\n\n")[0].split())


def helps(command: click.Command, name: str, above: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Yield each command's name and what `--help` says of it, the groups before what is in them."""
    context = click.Context(command, info_name=name.split()[-1], parent=above, max_content_width=78)
    yield name, command.get_help(context)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            if found is not None and not found.hidden:
                yield from helps(found, f"{name} {below}", context)
