"""Links to the repository, Colab and Binder follow from one setting, and do not exist without it."""

import re
import runpy
import tomllib
from pathlib import Path

import nbformat
import pytest

pytest.importorskip("sphinx", reason='the site needs pip install "tlkit[site]"')
pytest.importorskip("sphinx_book_theme", reason='the site needs pip install "tlkit[site]"')

import sources
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
SETTING = '# [project.urls]\n# Repository = "https://..."\n'
ADDRESS = "https://github.com/somebody/transfer"
ELSEWHERE = re.compile(r"github\.com|gitlab|colab|mybinder|Binder|rocket|git\+")


def set_to(repository, folder, monkeypatch):
    """Set the address in a copy of pyproject.toml; return the theme's options and the landing page."""
    settings = (ROOT / "pyproject.toml").read_text("utf-8")
    assert SETTING in settings
    urls = f'[project.urls]\nRepository = "{repository}"\n' if repository else ""
    (folder / "pyproject.toml").write_text(settings.replace(SETTING, urls), "utf-8")
    monkeypatch.setattr(sources, "ROOT", folder)
    options = runpy.run_path(str(ROOT / "site" / "conf.py"))["html_theme_options"]
    landing = sources.templates().get_template("index.md")
    return options, landing.render(
        repository=sources.repository(), install="", series=[], lesson=str, subjects=[]
    )


def built(folder, index):
    """Build a site of the landing page and one lesson; return both pages as HTML."""
    pages = folder / "pages"
    (pages / "notebooks").mkdir(parents=True)
    (pages / "index.md").write_text(index, "utf-8")
    cells = [nbformat.v4.new_markdown_cell("# 00 · Which?"), nbformat.v4.new_code_cell("1")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), pages / "notebooks" / "00.ipynb")
    html, doctrees = folder / "html", folder / "doctrees"
    Sphinx(pages, ROOT / "site", html, doctrees, "html", status=None, warning=None).build()
    return [(html / page).read_text("utf-8") for page in ("index.html", "notebooks/00.html")]


def test_without_a_repository_nothing_leads_to_one(tmp_path, monkeypatch):
    options, landing = set_to("", tmp_path, monkeypatch)
    assert not {"repository_url", "use_repository_button", "launch_buttons"} & set(options)
    assert not ELSEWHERE.search(landing)


def test_with_a_repository_the_site_is_told_where_it_is(tmp_path, monkeypatch):
    options, landing = set_to(ADDRESS, tmp_path, monkeypatch)
    assert options["repository_url"] == ADDRESS
    assert set(options["launch_buttons"]) == {"colab_url", "binderhub_url"}
    assert f"git+{ADDRESS}" in landing
    assert "rocket" in landing


@pytest.mark.full
@pytest.mark.parametrize("repository", ["", ADDRESS])
def test_the_pages_have_these_links_or_none(repository, tmp_path, monkeypatch):
    _, landing = set_to(repository, tmp_path, monkeypatch)
    index, lesson = built(tmp_path, landing)
    for page in (index, lesson):
        assert bool(ELSEWHERE.search(page)) == bool(repository)
        assert (f'href="{ADDRESS}"' in page) == bool(repository)
    for place in ("https://colab.research.google.com/github/", "https://mybinder.org/v2/gh/"):
        opens = re.search(f'href="{place}somebody/transfer/[^"]*notebooks/00.ipynb"', lesson)
        assert bool(opens) == bool(repository)


def test_no_file_has_an_address_of_this_project_but_the_setting():
    """README, notebooks and the package neither repeat the address nor link to Colab, Binder or badges."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"].get("urls", {})
    address = re.escape(urls.get("Repository") or "https://github.com/tlkit")
    linked = re.compile(rf"{address}|colab\.research\.google|mybinder\.org|shields\.io")
    kinds = {".md", ".py", ".ipynb", ".cff", ".yml", ".toml", ".jinja"}
    folders = ("tlkit", "notebooks", "data", "benchmarks", "site")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")] + list(ROOT.glob("*"))
    texts = [
        path for path in files if path.suffix in kinds and path.name not in ("pyproject.toml", "conf.py")
    ]
    assert len(texts) > 200
    assert [str(path) for path in texts if linked.search(path.read_text("utf-8"))] == []
