"""The page of a comparison: everything that was found, in two files that appear together."""

import json

import numpy as np
import pandas as pd
import pytest
from tlkit.reports.findings_page import Findings, Part, captioned, write

from tlkit.errors import OutputError

FOUND = Findings(
    "A <b>bold</b> title",
    "One is better than two.",
    "three seeds",
    cautions=["Few seeds."],
    parts=[
        Part("Figures", "Look.", [captioned(lambda ax: ax.plot([1, 2]), (4, 3), "a line", "It rises.")]),
        Part("Numbers", table=pd.DataFrame({"name": ["one", "$x$"], "value": [0.12345, np.nan]})),
    ],
    numbers={"scores": pd.DataFrame({"score": ["a"], "value": [np.inf]}), "best": np.float32(0.5)},
    seconds=75.0,
)


@pytest.fixture
def written(tmp_path):
    return write(FOUND, tmp_path / "out", command="tlkit select here --out there")


def test_the_page_says_all_that_was_found(written):
    html = (written / "report.html").read_text()
    for said in (
        "One is better than two.",
        "three seeds",
        "Few seeds.",
        "Look.",
        "It rises.",
        'alt="a line"',
        "0.123",
        "–",
        "$x$",
        "1.2 min",
        "tlkit select here --out there",
    ):
        assert said in html
    assert "<b>bold</b>" not in html
    assert "http" not in html, "it opens without a network"


def test_the_numbers_are_plain_json_with_what_made_them(written):
    numbers = json.loads((written / "metrics.json").read_text())
    assert numbers["scores"] == [{"score": "a", "value": None}]
    assert numbers["best"] == 0.5
    assert numbers["answer"] == FOUND.answer
    assert numbers["command"] == "tlkit select here --out there"
    assert "keras" in numbers["versions"]
    assert numbers["seconds"] == 75


def test_an_earlier_page_is_replaced_only_when_asked(written):
    before = (written / "metrics.json").read_bytes()
    with pytest.raises(OutputError, match="--overwrite"):
        write(FOUND, written, command="again")
    assert (written / "metrics.json").read_bytes() == before
    write(FOUND, written, command="again", overwrite=True)
    assert json.loads((written / "metrics.json").read_text())["command"] == "again"
    assert sorted(path.name for path in written.iterdir()) == ["metrics.json", "report.html"]
