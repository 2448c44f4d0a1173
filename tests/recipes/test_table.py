"""The recipes' table, and the command that prints them."""

import ast
import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tlkit.cli import cli
from tlkit.errors import OutputError, UnknownNameError
from tlkit.recipes import RECIPES

ALLOWED = {"keras", "matplotlib", "numpy", "scipy", "sklearn", "tensorflow", *sys.stdlib_module_names}


def printed(*words):
    result = CliRunner().invoke(cli, ["recipe", *map(str, words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_every_script_is_in_the_table():
    scripts = {path.name for path in RECIPES.find("dann").path.parent.glob("*.py")} - {"__init__.py"}
    assert {each.path.name for each in RECIPES} == scripts


def test_the_page_says_what_each_recipe_prints():
    page = Path(__file__).parents[2] / "site" / "pages" / "recipes.md"
    rows = re.findall(r"^\| \[(\S+)\]\(#\1\) \|", page.read_text("utf-8"), flags=re.M)
    assert rows == RECIPES.names


def test_every_lesson_has_a_recipe():
    assert {lesson for each in RECIPES for lesson in each.lessons} == {f"{i:02}" for i in range(13)}


@pytest.mark.parametrize("each", RECIPES, ids=lambda each: each.name)
def test_a_script_is_short_needs_no_tlkit_and_names_its_paper(each):
    tree = ast.parse(each.text)
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= ALLOWED
    assert 40 <= len(each.text.splitlines()) <= 150
    assert any(str(year) in ast.get_docstring(tree) for year in range(1990, 2030))


def test_the_list_has_one_short_line_for_each_recipe_with_the_lesson_that_explains_it():
    lines = printed("--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == RECIPES.names
    for line, each in zip(lines, RECIPES, strict=True):
        assert len(line) <= 100
        assert line.endswith(f"{each.summary.rstrip('.')} (lesson {each.lessons[0]})")


def test_a_name_prints_the_script_itself():
    assert printed("DANN").stdout == RECIPES.find("dann").path.read_text("utf-8")


def test_out_writes_the_script_and_refuses_to_overwrite(tmp_path):
    out = tmp_path / "project" / "adapt.py"
    assert str(out) in printed("coral", "--out", out).stdout
    assert out.read_text("utf-8") == RECIPES.find("coral").text
    out.write_text("mine", "utf-8")
    with pytest.raises(OutputError, match="--overwrite"):
        printed("coral", "--out", out)
    assert out.read_text("utf-8") == "mine"
    printed("coral", "--out", out, "--overwrite")
    assert out.read_text("utf-8") == RECIPES.find("coral").text


def test_out_that_cannot_be_a_file_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"is a folder; expected a file such as .*self_supervised\.py"):
        printed("self-supervised", "--out", tmp_path, "--overwrite")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot be written to .*Choose another --out"):
        printed("coral", "--out", tmp_path / "file" / "coral.py")
    result = printed("--out", tmp_path / "recipe.py")
    assert result.exit_code == 2
    assert "Missing argument 'NAME'" in result.output


def test_an_unknown_name_comes_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'fine-tuning'"):
        printed("finetuning")
