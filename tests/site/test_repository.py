"""Links to the repository, Colab and Binder follow from one setting, and do not exist without it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("sphinx", reason='the site needs pip install "tlkit[site]"')
pytest.importorskip("sphinx_book_theme", reason='the site needs pip install "tlkit[site]"')

import sources

ROOT = Path(__file__).parents[2]
SETTING = '# [project.urls]\n# Repository = "https://..."\n'
ADDRESS = "https://github.com/somebody/transfer"
ELSEWHERE = re.compile(r"github\.com|gitlab|colab|mybinder|Binder|rocket|git\+")


def site(folder, repository):
    """Build a site of the landing page and one lesson, with this setting; return both pages as HTML."""
    for part in ("site", "benchmarks/speed"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    settings = (ROOT / "pyproject.toml").read_text("utf-8")
    assert SETTING in settings
    urls = f'[project.urls]\nRepository = "{repository}"\n' if repository else ""
    (folder / "pyproject.toml").write_text(settings.replace(SETTING, urls), "utf-8")
    (folder / "pages" / "notebooks").mkdir(parents=True)
    index = (
        sources.templates()
        .get_template("index.md")
        .render(repository=repository, install="", series=[], lesson=str, subjects=[])
    )
    (folder / "pages" / "index.md").write_text(index, "utf-8")
    cells = [nbformat.v4.new_markdown_cell("# 00 · Which?"), nbformat.v4.new_code_cell("1")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "pages" / "notebooks" / "00.ipynb")
    sphinx = [sys.executable, "-m", "sphinx", "-q", "-c", "site", "pages", "html"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        sphinx, cwd=folder, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    pages = ("index.html", "notebooks/00.html")
    return [(folder / "html" / page).read_text("utf-8") for page in pages]


def test_without_a_repository_the_site_has_no_link_to_one(tmp_path):
    for page in site(tmp_path, ""):
        assert not ELSEWHERE.search(page)


def test_with_a_repository_the_site_links_to_it_and_opens_lessons_on_colab_and_binder(tmp_path):
    index, lesson = site(tmp_path, ADDRESS)
    assert f"git+{ADDRESS}" in index
    assert "rocket" in index
    for page in (index, lesson):
        assert f'href="{ADDRESS}"' in page
    for place in ("https://colab.research.google.com/github/", "https://mybinder.org/v2/gh/"):
        assert re.search(f'href="{place}somebody/transfer/[^"]*notebooks/00.ipynb"', lesson)


def test_no_file_has_an_address_of_this_project_but_the_setting():
    """README, notebooks and the package neither repeat the address nor link to Colab, Binder or badges."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"].get("urls", {})
    address = re.escape(urls.get("Repository") or "https://github.com/tlkit")
    linked = re.compile(rf"{address}|colab\.research\.google|mybinder\.org|shields\.io")
    kinds = {".md", ".py", ".ipynb", ".cff", ".yml", ".toml", ".jinja"}
    folders = ("tlkit", "notebooks", "data", "benchmarks")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")] + list(ROOT.glob("*"))
    texts = [path for path in files if path.suffix in kinds and path.name != "pyproject.toml"]
    assert len(texts) > 200
    assert [str(path) for path in texts if linked.search(path.read_text("utf-8"))] == []
