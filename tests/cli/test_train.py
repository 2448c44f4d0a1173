"""`tlkit train` and `tlkit demo`: their files, their seeds, and what they refuse before any work."""

import inspect
import math

import keras
import numpy as np
import pandas as pd
import pytest
from pushes import mostly_full

from tlkit.cli import cli
from tlkit.data import load
from tlkit.experiments.train import train
from tlkit.techniques import TECHNIQUES


def test_it_writes_the_model_the_metrics_and_the_report(trained, metrics):
    done, out = trained
    assert done.exit_code == 0, done
    assert sorted(path.name for path in out.iterdir()) == [
        "metrics.json",
        "model.keras",
        "predictions.csv",
        "report.html",
    ]
    found = metrics(out)
    assert found["technique"] == "scratch"
    assert found["splits"] == {"train": 24, "validation": 8, "test": 8}
    assert found["seed"] == 7
    assert found["skipped"]["count"] == 1
    assert "circle/broken.png" in found["skipped"]["files"][0]
    assert f"test {found['accuracy']['test']:.1%}" in done.stdout
    assert f"Report: {out / 'report.html'}" in done.stdout


def test_held_out_labels_choose_the_technique_unless_one_is_named(shapes, tmp_path, command, metrics):
    small = ("--backbone", "LeNet", "--image-size", 28, "--weights", "none", "--minutes", 0)
    with pytest.warns(UserWarning, match=r"broken\.png"):
        done = command("train", shapes, "--out", tmp_path / "run", *small)
    assert done.exit_code == 0, done
    found = metrics(tmp_path / "run")
    assert found["asked"] == "auto"
    assert found["fine_tuning"]["reason"] in done.stdout
    table = pd.read_csv(tmp_path / "run" / "predictions.csv")
    assert table["split"].value_counts().to_dict() == found["splits"]
    test = table[table["split"] == "test"]
    assert (test["truth"] == test["prediction"]).mean() == pytest.approx(found["accuracy"]["test"])
    assert (table["file"].str.split("/").str[0] == table["truth"]).all()


def test_epochs_are_refused_where_a_head_is_solved(shapes, tmp_path, refused):
    words = ("train", shapes, "--out", tmp_path / "run", "--technique", "feature-extraction", "--epochs", 1)
    assert "has no option epochs" in refused(*words)


def test_the_command_and_the_function_have_the_same_defaults():
    options = cli.commands["train"].make_context("train", ["folder", "--out", "run"]).params
    parameters = {name: each.default for name, each in inspect.signature(train).parameters.items()}
    shared = options.keys() & parameters.keys() - {
        "data",
        "weights",
    }  # both: ImageNet weights, where there are any
    assert {"technique", "backbone", "epochs", "minutes", "mirrored_views", "seed"} <= shared
    assert {name: options[name] for name in shared} == {name: parameters[name] for name in shared}
    folder = inspect.signature(load).parameters
    assert {name: options[name] for name in ("validation", "test")} == {
        name: folder[name].default for name in ("validation", "test")
    }


def test_the_time_may_be_unlimited():
    words = ["folder", "--out", "run", "--minutes", "inf"]
    assert cli.commands["train"].make_context("train", words).params["minutes"] == math.inf


def test_a_technique_is_one_of_the_registry(shapes, tmp_path, command):
    done = command("train", shapes, "--out", tmp_path / "run", "--technique", "fine-tunning")
    assert done.exit_code == 2
    for name in TECHNIQUES.names:
        assert f"'{name}'" in done.output


def test_unknown_names_come_with_the_nearest(tmp_path, shapes, refused):
    out = ("--out", tmp_path / "run")
    assert "Did you mean 'emoji/twemoji'" in refused("train", "emoji/twemojy", *out)
    message = refused("train", shapes, *out, "--backbone", "EficientNetLite0")
    assert "Did you mean 'EfficientNetLite0'" in message


def test_a_size_below_the_smallest_is_refused_before_the_data_are_read(tmp_path, shapes, refused):
    message = refused("train", shapes, "--out", tmp_path / "run", "--image-size", "16")
    assert "smallest size is 32" in message


def test_an_occupied_folder_is_refused_before_anything_is_done(tmp_path, shapes, refused, lenet):
    (tmp_path / "notes.txt").write_text("mine")
    assert "--overwrite" in refused("train", shapes, "--out", tmp_path, *lenet)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_weights_that_are_not_here_are_named(tmp_path, shapes, refused):
    out = ("--out", tmp_path / "run")
    assert "there.keras" in refused("train", shapes, *out, "--weights", "there.keras")
    message = refused("train", shapes, *out, "--backbone", "LeNet", "--weights", "imagenet")
    assert "no ImageNet weights of LeNet" in message


def test_labels_in_a_table_are_for_another_command(tmp_path, shapes, table, command):
    for option in (("--labels", table), ("--balancing", "equal"), ("--kind", "form=classification")):
        done = command("train", shapes, "--out", tmp_path / "run", *option)
        assert done.exit_code == 2
        assert f"No such option '{option[0]}'" in done.output or f"No such option: {option[0]}" in done.output


@pytest.mark.filterwarnings("ignore:.*could not be read")
@pytest.mark.parametrize("name", mostly_full(["train", "adapt"], "adapt"))
def test_the_same_seed_gives_the_same_random_weights(name, shapes, tmp_path, command):
    words = {
        "train": (shapes, "--technique", "fine-tuning"),
        "adapt": (shapes, shapes, "--method", "entropy", "--features"),
    }
    small = ("--backbone", "LeNet", "--weights", "none", "--image-size", 28, "--epochs", 1)
    weights = []
    for process, out in enumerate((tmp_path / "once", tmp_path / "again")):
        keras.utils.set_random_seed(process)  # each process begins with another random state
        assert command(name, *words[name], *small, "--seed", 3, "--out", out).exit_code == 0
        weights.append(keras.saving.load_model(out / "model.keras").get_weights())
    for once, again in zip(*weights, strict=True):
        np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_is_out_of_range_is_refused(seed, tmp_path, command):
    done = command("train", "digits/optical", "--out", tmp_path / "run", "--seed", seed)
    assert done.exit_code == 2
    assert "0<=x<=4294967295" in done.stderr


def test_every_seed_option_has_the_same_range():
    options = [each for one in cli.commands.values() for each in one.params if each.name == "seed"]
    assert {(each.type.min, each.type.max) for each in options} == {(0, 2**32 - 1)}
