"""A model card reports the figures of the run, warns by its rules, and asks the author for the rest."""

import re

import pytest
import yaml
from click.testing import CliRunner

from tlkit._internal.intervals import wilson
from tlkit.cli import cli
from tlkit.deployment.card import images_needed, render, warnings
from tlkit.deployment.saved_run import open_run
from tlkit.errors import OutputError, TlkitError

SECTIONS = (
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Quantitative analyses",
    "Ethical considerations",
    "Caveats and recommendations",
)


def command(*words):
    return CliRunner().invoke(cli, ["card", *map(str, words)])


def test_it_has_the_sections_of_mitchell_and_the_front_matter_of_the_hub(saved):
    text = render(open_run(saved()), licence="apache-2.0")
    assert tuple(re.findall("^## (.+)$", text, flags=re.M)) == SECTIONS
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "apache-2.0"
    assert front["library_name"] == "keras"
    assert front["pipeline_tag"] == "image-classification"
    [result] = front["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "accuracy", "value": 0.75}]
    assert result["dataset"]["split"] == "test"


def test_every_figure_is_the_runs(saved):
    text = render(open_run(saved()))
    assert "**75.0 % of 359 test images right, 95 % interval 70.3 % to 79.2 %**; chance" in text
    low, high = wilson(27, 36)
    assert text.count(f"| 75.0 % | {100 * low:.1f} % to {100 * high:.1f} % | 90.0 % | 36 |") == 10
    other = render(open_run(saved(accuracy={"train": 1, "validation": 1, "test": 0.51})))
    assert "**51.0 % of 359" in other


def test_enough_images_bring_no_warning_of_too_few(saved):
    said = warnings(open_run(saved()))
    assert said == ["One seed: another seed would give another accuracy."]


def test_a_wide_interval_brings_a_warning_with_the_number_of_images_that_are_enough(saved):
    low, high = wilson(75, 100)
    interval = {"split": "test", "images": 100, "level": 0.95, "low": low, "high": high}
    [first, *_] = warnings(open_run(saved(interval=interval)))
    needed = int(re.search(r"About (\d+) are enough", first)[1])
    assert first.startswith("Too few test images: with 100 the 95 % interval is ±8 points")
    halves = [(b - a) / 2 for a, b in (wilson(round(0.75 * n), n) for n in (needed - 5, needed + 5))]
    assert halves[0] > 0.05 > halves[1] - 0.0005


def test_small_classes_leaks_missing_splits_and_interruptions_are_warned_of(saved):
    rows = [
        {"name": "0", "precision": None, "recall": None, "f1": None, "support": 0},
        {"name": "1", "precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 9},
    ]
    interval = {"split": "validation", "images": 359, "level": 0.95, "low": 0.76, "high": 0.84}
    duplicates = {"count": 1, "pairs": [["a", "b"]]}
    folder = saved(per_class=rows, interval=interval, duplicates=duplicates, interrupted=True)
    said = " ".join(warnings(open_run(folder)))
    for part in ("no test split", "2 of 10 classes have fewer than 10", "1 pair of identical", "interrupted"):
        assert part in said
    assert "| 0 | – | – | – | 0 |" in render(open_run(folder))
    [alone] = warnings(open_run(saved(interval=None)))
    assert "nothing here says how good it is" in alone
    assert "model-index" not in render(open_run(saved(interval=None)))


def test_names_cannot_break_the_table_and_paths_stay_at_home(saved, tmp_path):
    rows = [{"name": "a|b <i>", "precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 90}]
    command_line = f"tlkit train {tmp_path} --out run"
    text = render(open_run(saved(per_class=rows, data=str(tmp_path), command=command_line)))
    assert "| a\\|b &lt;i> | 100.0 %" in text
    assert str(tmp_path) not in text
    assert f"tlkit train {tmp_path.name} --out run" in text


def test_the_command_is_the_one_that_was_typed(saved):
    typed = "tlkit train photos/mine --out run"
    assert f"    {typed}\n" in render(open_run(saved(data="photos/mine", command=typed)))


def test_other_runs_stand_beside_it(saved):
    other = {"technique": "feature-extraction", "backbone": "LeNet", "seed": 0}
    other |= {"accuracy": {"test": 0.5}, "interval": {"split": "test", "low": 0.45, "high": 0.55}}
    text = render(open_run(saved(runs=[other])))
    assert "| feature-extraction | LeNet | 50.0 % | 45.0 % to 55.0 % |" in text


def test_the_command_writes_it_and_keeps_what_somebody_wrote(saved):
    folder = saved()
    done = command(folder, "--licence", "cc-by-4.0")
    assert done.exit_code == 0, done.output
    assert "Note: One seed" in done.output
    path = folder / "MODEL_CARD.md"
    assert 'license: "cc-by-4.0"' in path.read_text("utf-8")
    path.write_text("mine", "utf-8")
    refused = command(folder).exception
    assert isinstance(refused, OutputError)
    assert path.read_text("utf-8") == "mine"
    assert command(folder, "--overwrite").exit_code == 0
    assert isinstance(command(folder / "no").exception, TlkitError)


@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.99])
def test_images_needed_is_where_the_interval_becomes_narrow(fraction):
    needed = images_needed(fraction)
    low, high = wilson(round(fraction * (needed + 10)), needed + 10)
    assert (high - low) / 2 <= 0.051


def test_balanced_measures_stand_beside_accuracy_and_first_where_classes_are_unbalanced(saved):
    measures = {
        "accuracy": {"value": 0.75, "low": 0.70, "high": 0.79},
        "balanced_accuracy": {"value": 0.61, "low": 0.55, "high": 0.67},
        "macro_f1": {"value": 0.6, "low": 0.54, "high": 0.66},
    }
    text = render(open_run(saved(measures=measures, headline="balanced_accuracy")))
    assert "Balanced accuracy 61.0 % (55.0 % to 67.0 %), macro F1 60.0 % (54.0 % to 66.0 %)." in text
    assert "read the balanced accuracy first" in text
    [result] = yaml.safe_load(text.split("---\n")[1])["model-index"][0]["results"]
    assert result["metrics"][1] == {"type": "balanced_accuracy", "value": 0.61}
    assert "read the balanced" not in render(open_run(saved(measures=measures, headline="accuracy")))
