"""A result is written whole or not at all, as numbers and as one page that says everything that was found."""

import errno
import hashlib
import html
import json
import re
from dataclasses import dataclass, field
from typing import get_type_hints

import numpy as np
import pandas as pd
import pytest

import tlkit
from tlkit import write_report
from tlkit._internal.cache import from_json
from tlkit.errors import OutputError
from tlkit.reports.document import Code, Document, Images, Listing, Section, Table, Terms, Text, Tile
from tlkit.reports.figures import figure, thumbnail
from tlkit.reports.result import Result, plain

COMMAND = "tlkit select 'my <images>' --out there"
EXPERIMENTS = [
    "train",
    "adapt",
    "pretrain",
    "train_tasks",
    "select",
    "similarity",
    "label_counts",
    "audit",
    "compare",
]


@dataclass
class Found(Result):
    """A result with a block of every kind and one file of its own."""

    seconds: dict = field(default_factory=lambda: {"scores": 15.0, "total": 75.0})
    content: bytes = b"weights"
    full: bool = False

    def metrics(self):
        scores = pd.DataFrame({"score": ["a"], "value": [np.inf]})
        return {"scores": scores, "best": np.float32(0.5)}

    def report(self, folder=None):
        pixels = np.zeros((16, 16, 3), "uint8")
        return Document(
            "A <b>bold</b> title",
            "One is better than two.",
            "three seeds",
            ["Few <i>seeds</i>."],
            [
                Section(
                    "Figures & images",
                    [
                        Text("Look."),
                        figure(lambda ax: ax.plot([1, 2]), (4, 3), "a line", "It rises."),
                        Images([Tile([thumbnail(pixels, "black <u>")], [("<u>1</u>.png", "file")])]),
                    ],
                ),
                Section(
                    "Numbers",
                    [
                        Table(pd.DataFrame({"name": ["one", "$x$"], "value": [0.12345, np.nan]})),
                        Terms({"<i>licence</i>": "CC0 & free"}),
                        Listing(["<s>gone</s>"], "The <s>names</s>"),
                        Code(f"tlkit train --out {folder}"),
                    ],
                ),
            ],
        )

    def files(self):
        return {"weights.bin": self._write}

    def _write(self, path):
        path.write_bytes(self.content)
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def written(tmp_path):
    return write_report(Found(), tmp_path / "runs" / "out", command=COMMAND)


def test_the_page_says_all_that_was_found(written, stands_alone):
    text = (written / "report.html").read_text("utf-8")
    for said in (
        "One is better than two.",
        "three seeds",
        "Look.",
        "It rises.",
        'alt="a line"',
        "0.123",
        "–",
        "$x$",
        "1.2 min",
        "15.0 s",
        "CC0 &amp; free",
        f"tlkit train --out {written}",
        "<code>weights.bin</code> and <code>metrics.json</code>",
    ):
        assert said in text
    assert html.unescape(re.findall(r"<pre><code>(.*?)</code></pre>", text, re.S)[-1]) == COMMAND
    assert len(stands_alone(text)) == 2
    assert "http" not in text, "it opens without a network"


def test_text_that_looks_like_html_is_text_everywhere(written):
    text = (written / "report.html").read_text("utf-8")
    assert not re.search(r"<(b|i|u|s)>", text)
    for shown in (
        "A &lt;b&gt;bold&lt;/b&gt; title",
        "Few &lt;i&gt;seeds",
        "black &lt;u&gt;",
        "&lt;u&gt;1&lt;/u&gt;.png",
        "&lt;i&gt;licence",
        "&lt;s&gt;gone",
        "The &lt;s&gt;names",
        "&lt;images&gt;",
    ):
        assert shown in text


def test_headings_are_in_order_and_the_language_is_said(written):
    text = (written / "report.html").read_text("utf-8")
    assert re.findall(r"<h(\d)", text) == ["1", "2", "2", "2", "2"]
    assert '<html lang="en">' in text


def test_the_numbers_are_plain_json_with_what_made_them(written):
    numbers = json.loads((written / "metrics.json").read_text("utf-8"))
    assert numbers["scores"] == [{"score": "a", "value": None}]
    assert numbers["best"] == 0.5
    assert numbers["answer"] == "One is better than two."
    assert numbers["command"] == COMMAND
    assert numbers["version"] == tlkit.__version__
    assert {"python", "tlkit", "keras", "numpy", numbers["backend"]} == set(numbers["versions"])
    assert numbers["seconds"] == {"scores": 15.0, "total": 75.0}


def test_tables_are_lists_of_rows_and_what_is_not_finite_is_none():
    table = pd.DataFrame({"n": [np.int64(1)], "x": [np.nan]})
    assert plain({1: table, "y": (np.float32(0.5), -np.inf, "a", None, True)}) == {
        "1": [{"n": 1, "x": None}],
        "y": [0.5, None, "a", None, True],
    }


def test_without_a_command_the_page_has_none(tmp_path):
    out = write_report(Found(), tmp_path / "out")
    assert "Repeat it" not in (out / "report.html").read_text("utf-8")


def test_an_earlier_report_is_replaced_only_when_asked(written):
    before = contents(written)
    with pytest.raises(OutputError, match=r"not empty.*--overwrite"):
        write_report(Found(), written, command="again")
    assert contents(written) == before
    write_report(Found(), written, command="again", overwrite=True)
    assert json.loads((written / "metrics.json").read_text())["command"] == "again"
    assert sorted(contents(written)) == ["metrics.json", "report.html", "weights.bin"]


def test_other_files_in_the_folder_stay(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"not empty.*--overwrite"):
        write_report(Found(), tmp_path)
    assert list(contents(tmp_path)) == ["thesis.txt"]
    write_report(Found(), tmp_path, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_an_empty_folder_is_used_as_it_is(tmp_path):
    assert sorted(contents(write_report(Found(), tmp_path))) == ["metrics.json", "report.html", "weights.bin"]


def test_a_file_or_a_folder_that_cannot_be_made_is_refused(tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("mine")
    with pytest.raises(OutputError, match="is a file"):
        write_report(Found(), taken, overwrite=True)
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(Found(), taken / "below")
    assert taken.read_text() == "mine"


def test_a_full_disk_leaves_the_files_of_the_earlier_run(written):
    before = contents(written)
    with pytest.raises(OutputError, match="No space left on device"):
        write_report(Found(content=b"half", full=True), written, command="another", overwrite=True)
    assert contents(written) == before


def test_a_full_disk_leaves_nothing_in_a_new_folder(tmp_path):
    with pytest.raises(OutputError, match="No space left on device"):
        write_report(Found(full=True), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_returns_a_result(name):
    assert issubclass(get_type_hints(getattr(tlkit, name))["return"], Result)


def test_the_numbers_have_the_checksums_of_all_files_and_of_themselves(written):
    text = (written / "metrics.json").read_text()
    found = from_json(text)
    assert found["checksums"] == {
        name: hashlib.sha256((written / name).read_bytes()).hexdigest()
        for name in ("weights.bin", "report.html")
    }
    with pytest.raises(ValueError, match="checksum is wrong"):
        from_json(text.replace('"best": 0.5', '"best": 0.6'))


def test_files_of_an_earlier_run_go_unless_they_have_changed(written):
    @dataclass
    class Other(Found):
        def files(self):
            return {}

    (written / "notes.txt").write_text("mine")
    write_report(Other(), written, overwrite=True)
    assert set(contents(written)) == {"metrics.json", "report.html", "notes.txt"}
    write_report(Found(), written, overwrite=True)
    (written / "weights.bin").write_bytes(b"changed by somebody")
    write_report(Other(), written, overwrite=True)
    assert (written / "weights.bin").read_bytes() == b"changed by somebody"


def test_a_report_that_cannot_be_made_does_not_lose_the_model(tmp_path):
    @dataclass
    class Broken(Found):
        def report(self, folder=None):
            raise ZeroDivisionError("a figure")

    with pytest.raises(OutputError, match=r"ZeroDivisionError: a figure.*All other files were written"):
        write_report(Broken(), tmp_path / "run", command=COMMAND)
    assert set(contents(tmp_path / "run")) == {"metrics.json", "weights.bin"}
    assert from_json((tmp_path / "run" / "metrics.json").read_text())["command"] == COMMAND


def test_names_that_are_no_text_are_written(tmp_path):
    write_report(Found(), tmp_path / "run", command="tlkit train '\udcff'")
    assert from_json((tmp_path / "run" / "metrics.json").read_text())["command"] == "tlkit train '\udcff'"
    assert "\\udcff" in (tmp_path / "run" / "report.html").read_text()
