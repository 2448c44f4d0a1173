"""The page of an audit shows every problem with its remedy, and escapes what a file is called."""

import json

import numpy as np
from click.testing import CliRunner
from PIL import Image
from tlkit.reports.findings_audit import answer, findings
from tlkit.reports.findings_page import write

from tlkit.cli.deployment import audit as command
from tlkit.errors import DataError, OutputError
from tlkit.experiments.audit import audit


def folder(root):
    for number in range(12):
        path = root / ("cat" if number < 6 else "$dog$ <b>") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        patches = np.random.default_rng(number % 9).integers(0, 256, (6, 6, 3), "uint8")
        Image.fromarray(patches).resize((64, 64)).save(path)  # 9, 10, 11 are those of 0, 1, 2
    return root


def test_the_page_shows_pairs_and_lists_what_could_go(tmp_path):
    seen = audit(folder(tmp_path / "pets"))
    found = findings(seen, seconds=1.5)
    assert found.answer.startswith("Mend this first: the same picture under two labels")
    titles = [part.title for part in found.parts]
    assert titles[0] == "Error: the same picture under two labels (3)"
    assert titles[-2:] == ["Classes", "What could go"]
    assert found.parts[0].figures[0]["alt"] == "3 pairs of pictures: the same picture under two labels."
    written = write(found, tmp_path / "out", command="tlkit audit pets")
    page = (written / "report.html").read_text("utf-8")
    assert "$dog$ &lt;b&gt;/9.png" in page
    assert "<b>/9" not in page
    numbers = json.loads((written / "metrics.json").read_text("utf-8"))
    assert len(numbers["removable"]) == 6
    assert numbers["problems"][0]["count"] == 3
    assert {"bits", "colour", "two_classes"} <= set(numbers["pairs"][0])


def test_the_answer_counts_what_is_left_to_look_at(tmp_path):
    seen = audit(folder(tmp_path / "pets"))
    seen.problems = [each for each in seen.problems if each.level != "error"][:1]
    assert answer(seen) == "No error, but 1 thing to look at."


def test_the_command_leaves_with_1_where_an_error_was_found(tmp_path):
    pets = folder(tmp_path / "pets")
    done = CliRunner().invoke(command, [str(pets), "--out", str(tmp_path / "out")])
    assert done.exit_code == 1, done.output
    assert "error: the same picture under two labels (3)" in done.output
    assert "$dog$ <b>/9.png and cat/0.png" in done.output
    assert (tmp_path / "out" / "report.html").is_file()


def test_the_command_refuses_a_folder_of_results_in_use_and_data_that_are_not_there(tmp_path):
    pets = folder(tmp_path / "pets")
    done = CliRunner().invoke(command, [str(pets), "--out", str(pets)])
    assert isinstance(done.exception, OutputError)
    done = CliRunner().invoke(command, [str(tmp_path / "nowhere")])
    assert isinstance(done.exception, DataError)
