"""What the project's own files promise each other."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement

import tlkit

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LEARNER = ("tensorflow", "lessons")
DEVELOPER = ("online", "serve", "site", "scale", "hub", "dev")


def requirements(*extras):
    """The requirements of some extras, in order, each once."""
    return list(dict.fromkeys(each for extra in extras for each in PROJECT["optional-dependencies"][extra]))


def environment(file):
    """The name of a conda environment, and the requirements that conda and pip install into it."""
    written = yaml.safe_load((ROOT / file).read_text("utf-8"))
    *conda, last = written["dependencies"]
    return written["name"], conda, last["pip"]


def test_environment_yml_has_what_a_learner_needs():
    name, conda, pip = environment("environment.yml")
    assert name == "tlkit"
    assert conda == [f"python{PROJECT['requires-python']}", "pip"]
    assert pip == [*PROJECT["dependencies"], *requirements(*LEARNER), "-e ."]
    named = {Requirement(each).name for each in pip[:-1]}
    assert {"tensorflow", "keras", "keras-cv", "matplotlib", "jupyter", "nbval"} <= named


def test_environment_dev_yml_adds_the_tools_of_developers_to_the_same_environment():
    name, conda, pip = environment("environment-dev.yml")
    assert (name, conda) == ("tlkit", ["pip"])
    assert pip == requirements(*DEVELOPER)
    learner = {Requirement(each).name for each in environment("environment.yml")[2][:-1]}
    assert learner.isdisjoint(Requirement(each).name for each in pip)


def test_the_two_environments_have_every_package_of_make_setup():
    locked = re.search(r"^lock:.*?\.lock$", (ROOT / "Makefile").read_text("utf-8"), flags=re.M | re.S)[0]
    extras = re.findall(r"--extra ([a-z]+)", locked)
    assert set(requirements(*extras)) == {*requirements(*LEARNER), *requirements(*DEVELOPER)}


def test_the_lock_pins_every_requirement():
    pinned = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), flags=re.M))
    named = [*PROJECT["dependencies"], *requirements(*LEARNER, *DEVELOPER)]
    wanted = {Requirement(each).name.lower() for each in named}
    assert wanted <= {name.lower() for name in pinned}


def test_the_version_is_the_same_everywhere():
    assert tlkit.__version__ == PROJECT["version"]
    assert f"version: {PROJECT['version']}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_make_target_explains_itself():
    text = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.+)$", text, flags=re.M)[1].split())
    explained = set(re.findall(r"^([a-z-]+):.*## ", text, flags=re.M))
    assert targets == explained


def test_types():
    done = subprocess.run([sys.executable, "-m", "mypy"], capture_output=True, text=True, cwd=ROOT)
    assert not done.returncode, done.stdout


def test_importing_tlkit_loads_neither_keras_nor_a_backend():
    code = "import sys, tlkit; print({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_public_names_are_all_there_after_the_import_alone():
    code = "import tlkit; tlkit.data.load; tlkit.backbones.load_backbone; "  # before another name loads them
    code += "print([name for name in tlkit.__all__ if not getattr(tlkit, name).__doc__])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert {"backbones", "callbacks", "data", "errors", "optimizers", "recipes"} <= set(tlkit.__all__)


def test_only_public_names_are_listed():
    listed = {name for name in dir(tlkit) if not name.startswith("__")}
    assert listed == set(tlkit.__all__)


FLOORS = (
    {"_internal", "errors"},
    {"data", "backbones"},
    {"models", "plots", "optimizers", "callbacks"},
    {"techniques"},
    {"challenges"},
    {"reports"},
    {"experiments", "recipes", "scale_out"},
    {"course", "deployment"},
    {"cli"},
)
EXPERIMENTS = (
    *("train", "adapt", "pretrain", "train_tasks", "select", "similarity", "label_counts"),
    *("audit", "compare"),
)


def modules():
    """Every module of the package by its dotted name, as a syntax tree."""
    for path in sorted((ROOT / "tlkit").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts).removesuffix(".__init__"), ast.parse(path.read_text())


MODULES = dict(modules())


def imports_of(name):
    """The modules of the package that a module imports, also within functions and for types."""
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tlkit":
            for each in node.names:
                inner = f"{node.module}.{each.name}"
                yield inner if inner in MODULES else home_of(node.module, each.name)


def home_of(package, name):
    """The module that defines a name which a package offers."""
    found = getattr(importlib.import_module(package), name)
    home = getattr(found, "__module__", None) if callable(found) else None
    return home if home in MODULES else package


def room(name):
    return name.split(".")[1] if "." in name else ""


def test_floors_import_only_from_below():
    """The order of the design: who stands on whom."""
    height = {name: i for i, names in enumerate(FLOORS) for name in names}
    assert set(height) == {room(name) for name in MODULES} - {""}
    wrong = [
        f"{name} imports {other}"
        for name in MODULES
        if room(name)
        for other in imports_of(name)
        if room(other) and height[room(other)] > height[room(name)]
    ]
    assert wrong == []


def test_no_module_imports_itself_through_others():
    graph = {name: {other for other in imports_of(name) if room(other)} - {name} for name in MODULES}
    graph = {name: others for name, others in graph.items() if not is_package(name)}
    circles = [name for name in graph if name in reachable(graph, name)]
    assert circles == []


def is_package(name):
    """Packages import their modules, to offer their names; that is no circle."""
    return (ROOT / name.replace(".", "/")).is_dir()


def reachable(graph, start):
    found, waiting = set(), list(graph[start])
    while waiting:
        name = waiting.pop()
        if name in graph and name not in found:
            found.add(name)
            waiting += graph[name]
    return found


def test_an_experiment_imports_no_other_experiment():
    for name in MODULES:
        if room(name) == "experiments" and name.count(".") > 1:
            own = name.split(".")[2]
            others = {other.split(".")[2] for other in imports_of(name) if room(other) == "experiments"}
            assert not (others & set(EXPERIMENTS)) - {own}, name


def test_private_names_stay_in_their_module():
    for name, tree in MODULES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tlkit"):
                private = [each.name for each in node.names if each.name.startswith("_")]
                assert set(private) <= {"_internal", "__version__"}, name


def test_functions_are_short_and_few_files_are_loose():
    loose = [path.name for path in (ROOT / "tlkit").glob("*.py") if path.name != "__init__.py"]
    assert len(loose) <= 5
    long = [
        f"{name}.{node.name}: {lines} lines"
        for name, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and (lines := body_lines(node)) > 50
    ]
    assert long == []


def body_lines(function):
    """The lines of a function below its signature and docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0
