import re

import pytest


@pytest.fixture(scope="session")
def page():
    """Return the page of a result, unwritten."""
    from tlkit.reports.html import render

    def of(result, command=""):
        return render(
            result.report(),
            command=command,
            versions={"keras": "3"},
            seconds=result.seconds,
            files=[*result.files(), "metrics.json"],
        )

    return of


@pytest.fixture(scope="session")
def stands_alone():
    """Check that a page asks for nothing from outside and describes every image; return its images."""

    def check(text):
        sources = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)""", text)
        assert all(source.startswith("data:image/png;base64,") for source in sources)
        assert not re.search(r"<script|<link|@import|url\(", text)
        images = re.findall(r"<img [^>]*>", text)
        assert all(re.search(r'alt="[^"]{5,}"', image) for image in images)
        return images

    return check


@pytest.fixture(scope="session")
def titles():
    """Return the titles of a document's sections."""
    return lambda document: [section.title for section in document.sections]
