"""One class holds every table of methods: a new row is found, listed and importable at once."""

import importlib
import string
import sys
from dataclasses import dataclass

import pytest
from click.testing import CliRunner

from tlkit._internal.registry import Method, Registry, attach, resolve
from tlkit.cli import cli
from tlkit.errors import TlkitError, UnknownNameError

STRING = "string"  # the package of the standard library, in place of one of tlkit's


def method(name, home, **options):
    return Method(STRING, name, home, f"what {name} does", "Nobody 2020", options)


@pytest.fixture
def letters():
    return Registry("letter case", [method("lower", "ascii_lowercase"), method("UPPER", "ascii_uppercase")])


def test_rows_come_in_the_order_of_the_table(letters):
    assert letters.names == ["lower", "UPPER"]
    assert [row.name for row in letters] == ["lower", "UPPER"]
    assert len(letters) == 2


@pytest.mark.parametrize("name", ["upper", "Upper", "UPPER"])
def test_a_row_is_found_in_any_case(letters, name):
    assert letters.find(name).target == string.ascii_uppercase
    assert name in letters


def test_only_names_of_rows_are_contained(letters):
    assert "uper" not in letters
    assert None not in letters


def test_an_unknown_name_comes_with_the_nearest_and_with_all(letters):
    with pytest.raises(UnknownNameError) as refused:
        letters.find("uper")
    assert str(refused.value) == (
        "There is no letter case named 'uper'. Did you mean 'UPPER'? Known: lower, UPPER."
    )
    with pytest.raises(UnknownNameError, match=r"named 'digits'\. Known: lower, UPPER\."):
        letters.find("digits")


def test_a_row_is_built_with_its_own_options_unless_the_caller_passes_others():
    row = method("capitals", "capwords", sep="-")
    assert row.target is string.capwords
    assert row.build("a-b c") == "A-B c"
    assert row.build("a-b c", sep=" ") == "A-b C"


def test_the_target_of_a_row_may_lie_in_a_module_of_its_package():
    row = Method("importlib", "spec", "util.find_spec", "", "")
    assert row.target is importlib.util.find_spec


def test_a_method_is_given_by_its_name_or_as_an_instance():
    formatters = Registry("formatter", [method("plain", "Formatter")])
    mine = string.Formatter()
    assert resolve(formatters, mine, string.Formatter, "formatter") is mine
    assert isinstance(resolve(formatters, "Plain", string.Formatter, "formatter"), string.Formatter)
    with pytest.raises(UnknownNameError, match="Did you mean 'plain'"):
        resolve(formatters, "plane", string.Formatter, "formatter")


def test_neither_a_name_nor_an_instance_is_refused_with_an_example():
    formatters = Registry("formatter", [method("plain", "Formatter")])
    with pytest.raises(TlkitError) as refused:
        resolve(formatters, string.Formatter, string.Formatter, "formatter")
    assert str(refused.value) == (
        "formatter=the class Formatter was given; "
        "expected an instance, such as Formatter(), or a name: plain."
    )
    with pytest.raises(
        TlkitError, match=r"formatter=7 was given; expected an instance, such as Formatter\(\)"
    ):
        resolve(formatters, 7, string.Formatter, "formatter")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of two modules, and a table of their methods, one of them under two names."""
    monkeypatch.syspath_prepend(tmp_path)
    home = tmp_path / "borrowed"
    home.mkdir()
    (home / "__init__.py").write_text(
        "from tlkit._internal.registry import Method, Registry, attach\n"
        "rows = [('loud', 'speech.Shout'), ('louder', 'speech.Shout'), ('soft', 'speech.Whisper')]\n"
        "METHODS = Registry('voice', [Method(__name__, *row, '', '') for row in rows])\n"
        "__getattr__, __dir__, __all__ = attach(__name__, (METHODS,), {'words': ['greeting']})\n"
    )
    (home / "speech.py").write_text("class Shout: ...\nclass Whisper: ...\nclass Murmur: ...\n")
    (home / "words.py").write_text("greeting = 'hello'\n")
    yield importlib.import_module("borrowed")
    for name in [each for each in sys.modules if each.split(".")[0] == "borrowed"]:
        del sys.modules[name]


def test_the_public_names_of_a_package_come_from_its_table(package):
    assert sorted(package.__all__) == ["Shout", "Whisper", "greeting"]
    assert set(package.__all__) <= set(dir(package))


def test_a_module_of_a_package_is_imported_when_it_is_first_used(package):
    assert "borrowed.speech" not in sys.modules
    assert package.Shout is package.METHODS.find("louder").target
    assert "borrowed.speech" in sys.modules
    assert "borrowed.words" not in sys.modules
    assert package.greeting == "hello"
    with pytest.raises(AttributeError, match="Scream"):
        _ = package.Scream


def test_the_method_of_a_row_that_is_added_becomes_a_public_name(package):
    added = Method(package.__name__, "softer", "speech.Murmur", "", "")
    getter, names, public = attach(package.__name__, [Registry("voice", [*package.METHODS, added])], {})
    assert sorted(public) == ["Murmur", "Shout", "Whisper"]
    assert "Murmur" in names()
    assert getter("Murmur") is added.target


@dataclass(frozen=True)
class Row:
    name: str
    summary: str


TABLES = {
    "train": "tlkit.techniques.TECHNIQUES",
    "train-tasks": "tlkit.techniques.multi_task.methods.BALANCINGS",
    "adapt": "tlkit.techniques.domain_adaptation.methods.VALIDATORS",
    "pretrain": "tlkit.techniques.self_supervised.methods.METHODS",
    "similarity": "tlkit.challenges.task_similarity.measures.MEASURES",
    "select": "tlkit.challenges.model_selection.table.SCORES",
    "export": "tlkit.deployment.formats.FORMATS",
    "features": "tlkit.backbones.registry.BACKBONES",
    "recipe": "tlkit.recipes.RECIPES",
}


@pytest.mark.parametrize(("command", "table"), TABLES.items(), ids=TABLES)
def test_a_row_that_is_added_to_a_table_is_found_and_listed(command, table, monkeypatch):
    module, _, name = table.rpartition(".")
    module = importlib.import_module(module)
    old = getattr(module, name)
    added = Row("homemade", "is made at home")
    monkeypatch.setattr(module, name, Registry(old.kind, [*old, added]))
    new = getattr(module, name)
    assert new.find("HomeMade") is added
    with pytest.raises(UnknownNameError, match="Did you mean 'homemade'"):
        new.find("hommade")
    lines = CliRunner().invoke(cli, [command, "--list"]).stdout.splitlines()
    assert lines[-1].split(maxsplit=1) == ["homemade", "is made at home"]
