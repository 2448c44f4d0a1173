"""What the project's own files promise each other."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import tlkit

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
INSTALLED = ("tensorflow", "lessons", "online", "lite", "serve", "site", "scale", "hub", "dev")


def requirements():
    extras = PROJECT["optional-dependencies"]
    return PROJECT["dependencies"] + [each for extra in INSTALLED for each in extras[extra]]


def test_environment_yml_has_the_requirements_of_pyproject():
    text = (ROOT / "environment.yml").read_text()
    listed = re.findall(r"^      - (.+)$", text, flags=re.M)
    assert sorted(listed) == sorted([*requirements(), "-e ."])
    assert f"python{PROJECT['requires-python']}" in text


def test_the_lock_pins_every_requirement():
    pinned = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements.lock").read_text(), flags=re.M))
    wanted = {re.match(r"[\w.-]+", each)[0].lower() for each in requirements()}
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


def test_floors_import_only_from_below():
    """The order of DESIGN: who stands on whom."""
    floors = [
        {"errors", "quiet", "cache", "outputs", "intervals", "seeds"},
        {"data", "backbones"},
        {"models", "engines", "explain", "plots", "optimizers", "callbacks"},
        {"techniques"},
        {"challenges"},
        {"feature_quality"},
        {
            *("run", "adaptation", "multi_task_run", "pretraining", "backup"),
            *("study", "similarity", "selection", "course", "recipes", "auditing", "scale_out"),
        },
        {
            *("report", "page", "page_parts", "multi_task_page", "pretraining_page"),
            *("prediction", "multi_task_prediction", "findings"),
            "deployment",
        },
        {"cli"},
    ]
    height = {name: i for i, names in enumerate(floors) for name in names}
    for path in (ROOT / "tlkit").rglob("*.py"):
        here = path.relative_to(ROOT / "tlkit").parts[0].removesuffix(".py")
        if here == "__init__":
            continue
        text = path.read_text()
        imported = set(re.findall(r"^(?:from|import) tlkit\.(\w+)", text, flags=re.M))
        for names in re.findall(r"^from tlkit import (.+)$", text, flags=re.M):
            imported |= set(names.split(", ")) & set(height)
        for name in imported:
            assert height[name] <= height[here], f"{path.name} imports {name} from a floor above"
        assert not re.search(r"^from tlkit[\w.]* import .*\b_[a-z]", text, flags=re.M), (
            f"{path}: private name"
        )
