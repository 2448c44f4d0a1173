"""What README says: its links, its numbers, and its Python."""

import ast
import json
import re
from pathlib import Path

import pytest

import tlkit
from tlkit.course.lessons import lessons

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
SAID = " ".join(README.split())  # without line breaks
PAGES = sorted((ROOT / "site" / "pages").glob("*.md"))
CODE = re.search(r"```python\n(.*?)```", README, flags=re.DOTALL)[1]


def relative_links(text):
    return [
        link for link in re.findall(r"\]\(([^)#\s]+)", text) if not link.startswith(("http", "attachment"))
    ]


def test_links_lead_to_files():
    links = relative_links(README) + re.findall(r'src="([^"]+)"', README)
    assert len(links) > 20
    assert [link for link in links if not (ROOT / link).is_file()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_of_a_page_to_the_repository_lead_to_files(page):
    links = [link for link in relative_links(page.read_text("utf-8")) if link.startswith("../")]
    assert [link for link in links if not (page.parent / link).is_file()] == []


def test_the_table_has_every_lesson_once_and_in_order():
    listed = re.findall(
        r"^\| \[(\d\d) [^\]]+\]\(notebooks/(\w+)\.ipynb\) \| [A-Z].+\? \|$", README, flags=re.M
    )
    assert listed == [(lesson.number, lesson.path.stem) for lesson in lessons()]


def test_the_differences_from_the_peers_are_the_measured_ones():
    points = json.loads((ROOT / "benchmarks" / "few_labels.json").read_text())["points"]["accuracy"]
    for peer in ("scikit-learn", "Keras guide", "fastai"):
        own = points[f"auto minus {peer}"]["all settings"]
        assert f"{own['mean']:.1f} ({own['low']:.1f} to {own['high']:.1f})" in SAID, peer


def test_the_accuracies_below_the_first_picture_are_the_measured_ones():
    stored = json.loads((ROOT / "benchmarks" / "solar_cells.json").read_text())
    measured = stored["scores"]
    landing = " ".join((ROOT / "site" / "pages" / "index.md").read_text("utf-8").split())
    for text in (SAID, landing):
        for arm in ("scratch", "frozen", "fine-tuned"):
            assert f"{measured[arm]['mean']:.0f} %" in text, arm
        assert f"{stored['cells']:,} cells" in text


def test_the_code_is_short_and_names_what_exists():
    written = [line for line in CODE.splitlines() if line]
    assert len(written) <= 10
    for node in ast.walk(ast.parse(CODE)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tlkit":
            assert hasattr(tlkit, node.attr), node.attr


@pytest.mark.full
def test_the_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(CODE, {})
    assert (tmp_path / "runs" / "mine" / "report.html").is_file()
    assert (tmp_path / "model.keras").is_file()


def test_lines_are_not_too_long():
    assert [line for line in README.splitlines() if len(line) > 127] == []
