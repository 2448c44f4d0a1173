"""How sphinx makes the web site: `make site` lays the pages out in build/pages and then comes here."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # the extensions of this folder, and the reader of lessons

from sources import repository

import tlkit

project = "tlkit"
author = "The tlkit developers"
copyright = f"2026, {author}"
version = release = tlkit.__version__
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_design",
    "docstrings",
    "mathml",
]
default_role = "py:obj"  # `name` in a docstring is code, and a link where the name has a page
suppress_warnings = ["ref.python"]  # such a name may have several

# The lessons are shown as they were executed, never executed here.
nb_execution_mode = "off"
nb_custom_formats = {".ipynb": "lesson_pages.read"}
nb_ipywidgets_js = {}  # they would come from another server, as MathJax would
html_math_renderer = "mathml"
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

add_module_names = False
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# scikit-learn adds these to each class, with a page of text
autodoc_default_options = {
    "members": True,
    "exclude-members": "set_fit_request, set_predict_request, set_score_request",
}
autodoc_inherit_docstrings = False  # what Keras and scikit-learn say of their methods stands on their pages
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "sphinx_book_theme"
html_title = "tlkit"
html_logo = html_favicon = "static/logo.svg"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}  # light or dark as the reader's system
html_use_index = html_domain_indices = False  # the search finds names
html_copy_source = True  # the download of a lesson
html_theme_options = {
    "logo": {"text": "tlkit", "alt_text": "tlkit, the first page"},
    "navbar_persistent": [],  # the search is in the sidebar
    "show_toc_level": 2,
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
if REPOSITORY := repository():  # links that nobody can follow are left out
    html_theme_options |= {
        "repository_url": REPOSITORY,
        "repository_branch": "main",
        "use_repository_button": True,
        "launch_buttons": {
            "colab_url": "https://colab.research.google.com",
            "binderhub_url": "https://mybinder.org",
        },
    }
