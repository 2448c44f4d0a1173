"""The report of an audit shows every problem with its remedy, and escapes the names of files."""

import json

import numpy as np
import pytest
from PIL import Image

from tlkit import write_report
from tlkit.experiments.audit import audit
from tlkit.reports.document import Figure


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """The audit of 12 images, of which three are there under two labels."""
    root = tmp_path_factory.mktemp("data") / "pets"
    for number in range(12):
        path = root / ("cat" if number < 6 else "$dog$ <b>") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        patches = np.random.default_rng(number % 9).integers(0, 256, (6, 6, 3), "uint8")
        Image.fromarray(patches).resize((64, 64)).save(path)  # 9, 10, 11 are those of 0, 1, 2
    return audit(root)


def test_the_report_shows_pairs_and_lists_what_could_be_removed(audited, titles):
    report = audited.report()
    assert report.answer == audited.answer
    assert report.answer.startswith("Fix this first: identical images with different labels")
    assert titles(report)[0] == "Error: identical images with different labels (3)"
    assert titles(report)[-2:] == ["Classes", "What could be removed"]
    first = report.sections[0]
    [pairs] = [block for block in first.blocks if isinstance(block, Figure)]
    assert pairs.alt == "3 pairs of images: identical images with different labels."
    assert audited.problems[0].remedy in first.blocks[0].text
    assert "The folder has no splits of its own" in report.detail


def test_the_written_page_escapes_names_and_the_numbers_are_complete(audited, tmp_path, stands_alone):
    written = write_report(audited, tmp_path / "out", command="tlkit audit pets")
    page = (written / "report.html").read_text("utf-8")
    assert "$dog$ &lt;b&gt;/9.png" in page
    assert "<b>/9" not in page
    assert stands_alone(page)
    numbers = json.loads((written / "metrics.json").read_text("utf-8"))
    assert len(numbers["removable"]) == 6
    assert numbers["problems"][0]["count"] == 3
    assert {"bits", "colour", "two_classes"} <= set(numbers["pairs"][0])


def test_the_answer_counts_what_is_left_to_check(audited):
    others = [each for each in audited.problems if each.level != "error"]
    assert audited.answer.endswith(f"Then there are {len(others)} things to check.")
    audited = type(audited)(**vars(audited) | {"problems": others[:1]})
    assert audited.answer == "No error, but 1 thing to check."
