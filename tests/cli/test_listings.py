"""What the command line lists: every row of a registry, at once, and without Keras."""

import json
import subprocess
import sys

import pytest

from tlkit.backbones.registry import BACKBONES
from tlkit.challenges.model_selection.table import SCORES
from tlkit.challenges.task_similarity.measures import MEASURES
from tlkit.cli import cli
from tlkit.data import list_datasets
from tlkit.deployment.formats import FORMATS
from tlkit.recipes import RECIPES
from tlkit.techniques import TECHNIQUES
from tlkit.techniques.domain_adaptation.methods import METHODS as ADAPTATION
from tlkit.techniques.domain_adaptation.methods import VALIDATORS
from tlkit.techniques.multi_task.methods import BALANCINGS
from tlkit.techniques.self_supervised.methods import METHODS as PRETRAINING

LISTED = {
    "train": [TECHNIQUES],
    "train-tasks": [BALANCINGS],
    "adapt": [ADAPTATION, VALIDATORS],
    "pretrain": [PRETRAINING],
    "label-counts": [TECHNIQUES],
    "similarity": [MEASURES],
    "select": [SCORES],
    "export": [FORMATS],
    "features": [BACKBONES],
    "recipe": [RECIPES],
}
WITH_ARRAYS = ("select", "export")  # their tables lie beside functions on arrays
HEAVY = {"keras", "tensorflow", "sklearn", "pandas", "matplotlib", "numpy"}


def test_every_command_with_a_list_is_tried_here():
    with_list = {
        name for name, each in cli.commands.items() if any("--list" in option.opts for option in each.params)
    }
    assert with_list == set(LISTED)


@pytest.mark.parametrize(("name", "tables"), LISTED.items(), ids=LISTED)
def test_the_list_has_a_line_for_each_row_and_needs_no_argument(name, tables, command):
    done = command(name, "--list")
    assert done.exit_code == 0, done
    lines = iter(done.stdout.splitlines())
    for table in tables:
        if len(tables) > 1:
            assert next(lines) == f"{table.kind}:"
        for row in table:
            line = next(lines)
            assert line.split()[0] == row.name
            assert row.summary.rstrip(".") in line
            assert getattr(row, "paper", "") in line
    assert next(lines, None) is None


def test_a_method_is_explained_with_its_paper(command):
    listed = command("adapt", "--list").stdout
    assert "features that a discriminator cannot tell apart (Ganin et al. 2016)" in listed


@pytest.fixture(scope="module")
def loaded():
    """What is loaded after `tlkit --help`, and then after every `--list`, all in one new process."""
    code = (
        "import json, sys; from tlkit.cli import cli; loaded = {}\n"
        "for words in (['--help'], *([name, '--list'] for name in json.loads(sys.argv[1]))):\n"
        "    print(' '.join(words)); cli(words, standalone_mode=False)\n"
        "    loaded[words[0]] = sorted(sys.modules)\n"
        "print(json.dumps(loaded))"
    )
    light_first = sorted(LISTED, key=WITH_ARRAYS.__contains__)  # what was loaded stays
    words = [sys.executable, "-c", code, json.dumps(light_first)]
    *shown, last = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "Transfer learning with Keras" in "\n".join(shown)
    return json.loads(last)


def test_help_loads_nothing_heavy(loaded):
    assert not HEAVY & set(loaded["--help"])


@pytest.mark.parametrize("name", LISTED)
def test_a_list_loads_no_keras(loaded, name):
    allowed = {"numpy", "pandas"} if name in WITH_ARRAYS else set()
    assert not (HEAVY - allowed) & set(loaded[name])
    assert not any(module.startswith("tlkit.recipes.") for module in loaded[name])


def test_backbones_and_data_sets_are_json_on_request(command):
    rows = json.loads(command("backbones", "--json").stdout)
    assert [row["name"] for row in rows] == BACKBONES.names
    lite = next(row for row in rows if row["name"] == "EfficientNetLite0")
    assert lite["here"] is True
    assert lite["parameters"] == 3413024
    rows = json.loads(command("datasets", "--json").stdout)
    assert [row["name"] for row in rows] == [card.name for card in list_datasets()]
    assert {"emoji/twemoji", "digits/mnist"} <= {row["name"] for row in rows}


def test_backbones_and_data_sets_are_tables_otherwise(command):
    assert all(name in command("backbones").stdout for name in BACKBONES.names)
    assert all(card.name in command("datasets").stdout for card in list_datasets())
