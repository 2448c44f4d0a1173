"""The command lists the problems, writes the report, and exits with 1 where there is an error."""

import shutil

import pytest
from click.testing import CliRunner

from tlkit.cli.audit import audit
from tlkit.errors import DataError, OutputError


@pytest.fixture
def run():
    return lambda *words: CliRunner().invoke(audit, [str(word) for word in words])


def test_the_command_exits_with_1_where_an_error_was_found(run, folder, tmp_path):
    (folder / "dog").rename(folder / "$dog$ <b>")
    shutil.copy(folder / "cat/0.png", folder / "$dog$ <b>/x.png")
    done = run(folder, "--out", tmp_path / "out")
    assert done.exit_code == 1, done.output
    assert "error: identical images with different labels (1)" in done.output
    assert "$dog$ <b>/x.png and cat/0.png" in done.output
    assert (tmp_path / "out" / "report.html").is_file()


def test_the_command_exits_with_0_where_there_is_no_error(run, folder):
    done = run(folder)
    assert done.exit_code == 0, done.output
    assert "No error, but 1 thing to check." in done.output


def test_the_command_refuses_a_folder_of_results_in_use_and_data_that_are_not_there(run, folder, tmp_path):
    assert isinstance(run(folder, "--out", folder).exception, OutputError)
    assert isinstance(run(tmp_path / "nowhere").exception, DataError)
