"""What is laid out for the site before sphinx reads it."""

import doctest
import importlib
import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

import tlkit
from tlkit.course.lessons import lessons
from tlkit.errors import DataError
from tlkit.recipes import RECIPES

pytest.importorskip("sphinx", reason='the site needs pip install "tlkit[site]"')
pytest.importorskip("latex2mathml", reason='the site needs pip install "tlkit[site]"')

import claims
import lesson_pages
import logo
import mathml
import sources
from speed_tables import Comparison

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "pages"
    sources.lay_out(folder)
    return folder


@pytest.mark.parametrize("name", ["claims", "docstrings", "lesson_pages", "mathml", "sources"])
def test_examples_in_docstrings_hold(name):
    found = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    assert found.attempted > 0
    assert found.failed == 0


def test_the_landing_page_has_a_card_with_a_picture_for_each_lesson(pages):
    index = (pages / "index.md").read_text("utf-8")
    for lesson in lessons():
        assert f":link: notebooks/{lesson.path.stem}\n" in index
        assert lesson.question in index
        assert f"pictures/card-{lesson.number}.png" in index
        with Image.open(pages / "pictures" / f"{lesson.number}.png") as whole:
            height = whole.height
        with Image.open(pages / "pictures" / f"card-{lesson.number}.png") as card:
            assert card.height == height  # as large as in the lesson
        assert f"{lesson.number} · {lesson.topic} <notebooks/{lesson.path.stem}>" in index
    assert index.count(":img-alt: ") == len(lessons())


def test_a_lesson_that_was_not_executed_is_named_with_what_to_do(tmp_path):
    new = nbformat.v4
    nbformat.write(
        new.new_notebook(cells=[new.new_markdown_cell("# 05 · Which?")]), tmp_path / "02_fine_tuning.ipynb"
    )
    with pytest.raises(DataError, match=r"02_fine_tuning\.ipynb has no picture.*make execute"):
        sources.opening(lessons(tmp_path)[0])


def test_lessons_to_download_are_the_files_of_the_project(pages):
    for lesson in lessons():
        assert (pages / "notebooks" / lesson.path.name).read_bytes() == lesson.path.read_bytes()


def test_every_data_set_has_a_card_with_its_licence_and_those_that_are_here_a_picture(pages):
    text = (pages / "data.md").read_text("utf-8")
    for card in tlkit.list_datasets():
        assert card.licence in text
        assert card.checksum in text
        picture = f"pictures/{card.name.replace('/', '-')}.png"
        here = tlkit.data.is_here(card.name)
        assert (picture in text) == here
        assert not here or (pages / picture).stat().st_size > 500


def test_every_public_name_has_a_page_of_the_reference(pages):
    reference = "\n".join(path.read_text("utf-8") for path in (pages / "api").glob("*.rst"))
    places = re.findall(r"automodule:: (\S+)", reference)
    assert len(places) == len(set(places))
    for name in tlkit.__all__:
        home = sources.home(name, sources.subjects())
        assert home, name
        assert home in ("tlkit.techniques", "tlkit.challenges") or any(
            home == place or home.startswith(place + ".") for place in places
        ), name


def test_every_figure_of_a_benchmark_is_on_a_page_with_its_script(pages):
    shown = {
        name: (pages / f"{name}.md").read_text("utf-8") for name in ("measured", "speed", "compare", "index")
    }
    for path in (ROOT / "benchmarks").glob("*.png"):
        if path.stem != "fine_tuning_grid":  # no lesson draws it now
            assert any(f"(pictures/{path.name})" in text for text in shown.values()), path.name
            assert (pages / "pictures" / path.name).exists()
            assert path.stem == "speed" or f"benchmarks/{path.stem}.py" in shown["measured"], path.name


def test_the_tables_of_what_we_measured_are_those_of_the_stored_results():
    page = claims.PAGE.read_text("utf-8")
    assert claims.filled(page) == page, "run site/claims.py"


def test_the_logo_is_the_one_that_its_script_draws():
    assert logo.FILE.read_text("utf-8") == logo.svg()


def test_every_table_of_speed_is_on_its_page(pages):
    text = (pages / "speed.md").read_text("utf-8")
    results = sorted((ROOT / "benchmarks" / "speed" / "results").glob("*.json"))
    assert len(results) >= 6
    for path in results:
        written = json.loads(path.read_text("utf-8"))
        assert f"\n## {written['title']}\n" in text
        for comparison in written["comparisons"]:
            assert comparison["title"] in text
            for side, values in comparison["values"].items():
                assert f"| {side} | {np.median(values):.4g} |" in text


def test_a_ratio_above_1_is_ahead_whether_less_or_more_is_better():
    seconds = Comparison("work", "s", "tlkit", {"tlkit": [1.0, 2.0], "peer": [2.0, 8.0]})
    rates = Comparison("work", "images/s", "tlkit", {"tlkit": [9.0, 8.0], "peer": [3.0, 2.0]}, better="more")
    assert seconds.ratios("peer") == (3.0, 2.0, 4.0)
    assert rates.ratios("peer") == (3.5, 3.0, 4.0)


def test_every_command_is_explained(pages):
    text = (pages / "commands.md").read_text("utf-8")
    for command in ("tlkit", "tlkit train", "tlkit label-counts", "tlkit course build"):
        assert f"\n## {command}\n" in text


def test_the_decision_page_names_commands_recipes_and_lessons_that_exist(pages):
    text = (pages / "choose.md").read_text("utf-8")
    helps = (pages / "commands.md").read_text("utf-8")
    commands = set(re.findall(r"`tlkit ([a-z-]+)", text))
    assert len(commands) >= 5
    for command in commands:
        assert f"\n## tlkit {command}\n" in helps
    for option in set(re.findall(r"--[a-z]+", text)):
        assert option in helps
    assert set(re.findall(r"tlkit recipe ([a-z-]+)", text)) == {recipe.name for recipe in RECIPES}
    linked = set(re.findall(r"\(notebooks/(\d\d)_", text))
    assert linked >= {lesson.number for lesson in lessons()}


def test_the_glossary_sends_each_term_to_a_lesson_that_speaks_of_it(pages):
    text = (pages / "glossary.md").read_text("utf-8")
    entries = re.findall(r"^(\S.+)\n  ((?:.+\n)+?)(?=\n|```)", text, flags=re.M)
    assert len(entries) >= 60
    said = {each.number: f"{each.topic} {lesson_text(each)}".lower() for each in lessons()}
    for term, meaning in entries:
        numbers = re.findall(r"lesson (\d\d)", meaning)
        assert numbers, term
        for number in set(numbers) & set(said):
            for word in re.findall(r"\w+", term.lower()):
                assert word[:6] in said[number], (term, number)


def lesson_text(lesson):
    return " ".join(cell.source for cell in lesson.notebook.cells)


def test_a_solution_is_folded_and_a_figure_is_described_by_its_caption():
    new = nbformat.v4
    figure = new.new_output("display_data", {"image/png": "iVBORw0KGgo="})
    cells = [
        new.new_markdown_cell(
            "# 05 · Which?\n\n![the task](attachment:opening.png)\n\nFirst `00_start_here`."
        ),
        new.new_code_cell("plot()", outputs=[figure]),
        new.new_markdown_cell("*Accuracy over `n`:\nmore is better.*\n\n**How to read it.** ..."),
        new.new_code_cell("x = 3", metadata={"tags": ["solution"]}),
    ]
    shown = lesson_pages.read(nbformat.writes(new.new_notebook(cells=cells))).cells
    assert "(../pictures/05.png)" in shown[0].source
    assert "[00 start here](00_start_here.ipynb)" in shown[0].source
    assert shown[1].metadata.mystnb.image.alt == "Accuracy over n: more is better."
    assert "hide-cell" not in shown[1].metadata.tags
    assert "hide-cell" in shown[3].metadata.tags
    assert shown[3].metadata.mystnb.code_prompt_show == "Show the solution"


def test_a_formula_needs_no_script_and_keeps_its_text():
    written = mathml.mathml(r'a < b \& "c"', "inline")
    assert written.startswith("<math ")
    assert 'alttext="a &lt; b' in written


@pytest.mark.parametrize("lesson", lessons(), ids=lambda each: each.path.stem)
def test_the_site_can_draw_every_command_of_a_formula(lesson):
    text = "\n".join(each.source for each in lesson.notebook.cells if each.cell_type == "markdown")
    formulas = [block or inline for block, inline in re.findall(r"\$\$(.+?)\$\$|\$(.+?)\$", text, re.S)]
    unknown = {each for each in formulas if ">\\" in mathml.mathml(each, "block")}
    assert not unknown
