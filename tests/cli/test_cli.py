"""The command line as a user meets it: in its own process, with exit codes."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw

from tlkit.cli import cli
from tlkit.errors import TlkitError

TLKIT = Path(sys.executable).with_name("tlkit")
LENET = ["--technique", "scratch", "--backbone", "LeNet", "--image-size", "28", "--epochs", "3"]


def tlkit(*words):
    return subprocess.run([TLKIT, *map(str, words)], capture_output=True, text=True)


def command(*words):
    """Run a command in this process."""
    return CliRunner().invoke(cli, list(map(str, words)))


def refused(*words):
    """Run a command in this process; return the message with which it refuses."""
    result = command(*words)
    assert isinstance(result.exception, TlkitError), result
    return str(result.exception)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """A folder of drawn shapes: 20 circles and 20 squares, and one file that is no image."""
    root = tmp_path_factory.mktemp("data") / "my shapes"
    for i in range(20):
        for name in ("circle", "square"):
            picture = Image.new("RGB", (40, 40), (255, 255 - i, 255))
            box = (5 + i % 7, 5 + i % 5, 27 + i % 7, 27 + i % 5)
            draw = ImageDraw.Draw(picture)
            (draw.ellipse if name == "circle" else draw.rectangle)(box, fill=(i, 0, 99))
            path = root / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
    (root / "circle" / "broken.png").write_bytes(b"not a picture")
    return root


@pytest.fixture(scope="module")
def trained(shapes, tmp_path_factory):
    """`tlkit train` on the shapes: the finished process and its folder."""
    out = tmp_path_factory.mktemp("runs") / "shapes"
    return tlkit("train", shapes, "--out", out, *LENET, "--seed", 7), out


def test_train_writes_model_metrics_and_report(trained, shapes):
    done, out = trained
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "model.keras", "report.html"]
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["technique"] == "scratch"
    assert metrics["splits"] == {"train": 24, "validation": 8, "test": 8}
    assert metrics["seed"] == 7
    assert "'" in metrics["command"]  # the space in the folder's name is quoted
    assert metrics["skipped"]["count"] == 1
    assert "circle/broken.png" in metrics["skipped"]["files"][0]
    assert "broken.png" in done.stderr


def test_the_screen_shows_no_log_lines(trained):
    done, _ = trained
    for noise in ("I0000", "E0000", "WARNING", "Traceback", "cuda"):
        assert noise not in done.stderr + done.stdout


def test_predict_names_images(trained, shapes):
    _, out = trained
    answers = json.loads(tlkit("predict", out, shapes / "circle", "--top", 2, "--json").stdout)
    assert len(answers) == 20
    assert {each["class"] for each in answers[0]["classes"]} == {"circle", "square"}
    assert sum(each["probability"] for each in answers[0]["classes"]) == pytest.approx(1, abs=1e-4)


@pytest.fixture(scope="module")
def table(shapes):
    """A table about the shapes: three columns, a row without a file, and three files without a row."""
    rows = ["file,form,left edge,marks"]
    for i in range(20):
        edge = "" if i % 5 == 0 else 5 + i % 7
        rows += [
            f"{form}/{i}.png,{form},{edge},{'early|round' if i < 9 else '-'}" for form in ("circle", "square")
        ]
    path = shapes / "labels.csv"
    path.write_text("\n".join([*rows[:-2], "square/99.png,square,7,-"]))
    return path


@pytest.fixture(scope="module")
def trained_on_table(shapes, table, tmp_path_factory):
    """`tlkit train --labels`: the finished process and its folder."""
    out = tmp_path_factory.mktemp("runs") / "table"
    return tlkit("train", shapes, "--labels", table, "--out", out, *LENET, "--balancing", "uncertainty"), out


def test_train_on_a_table_says_what_it_took_and_what_it_left_out(trained_on_table):
    done, out = trained_on_table
    assert done.returncode == 0, done.stderr
    assert "form: classification, 38 of 38 images labelled, 2 classes" in done.stdout
    assert "left edge: regression, 30 of 38 images labelled, mean" in done.stdout
    assert "wrong? --kind 'left edge'=classification" in done.stdout
    assert "marks: multi-label" in done.stdout
    assert re.search(r"left edge: mean absolute error [\d.]+ \(best constant answer [\d.]+\)", done.stdout)
    assert "1 row of labels.csv named no image" in done.stderr
    assert "3 images below" in done.stderr
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["balancing"] == "uncertainty"
    assert {name: task["kind"] for name, task in metrics["tasks"].items()} == {
        "form": "classification",
        "left edge": "regression",
        "marks": "multi-label",
    }
    assert metrics["skipped"]["count"] == 4
    assert "Task by task" in (out / "report.html").read_text()
    for noise in ("I0000", "WARNING", "Traceback"):
        assert noise not in done.stderr + done.stdout


def test_predict_answers_every_task(trained_on_table, shapes):
    _, out = trained_on_table
    lines = CliRunner().invoke(cli, ["predict", str(out), str(shapes / "circle" / "1.png")]).stdout
    assert re.search(r"1\.png: form: \w+ [\d.]+%; left edge: [-\d.]+; marks: ", lines)
    command = ["predict", str(out), str(shapes / "circle"), "--json", "--top", "2"]
    with pytest.warns(UserWarning, match="unreadable"):
        answers = json.loads(CliRunner().invoke(cli, command).stdout)
    assert len(answers) == 20
    tasks = answers[0]["tasks"]
    assert {each["class"] for each in tasks["form"]["classes"]} == {"circle", "square"}
    assert isinstance(tasks["left edge"]["value"], float)
    assert all(each["probability"] > 0.5 for each in tasks["marks"]["classes"])


def test_predict_without_the_names_shows_numbers(trained_on_table, shapes, tmp_path):
    _, out = trained_on_table
    (tmp_path / "model.keras").write_bytes((out / "model.keras").read_bytes())
    command = ["predict", str(tmp_path), str(shapes / "square" / "1.png"), "--json"]
    with pytest.warns(UserWarning, match="No class names of form, marks fit"):
        [answer] = json.loads(CliRunner().invoke(cli, command).stdout)
    assert answer["tasks"]["form"]["classes"][0]["class"].startswith("class ")
    assert "value" in answer["tasks"]["left edge"]


def test_a_table_that_does_not_fit_is_refused(shapes, table, tmp_path):
    words = ["train", shapes, "--labels", table, "--out", tmp_path / "run", *LENET]
    assert "expected COLUMN=KIND" in refused(*words, "--kind", "form")
    assert "Did you mean 'pcgrad'" in refused(*words, "--balancing", "pcgrd")
    absent = [*words[:3], tmp_path / "absent.csv", *words[4:], "--overwrite"]
    assert "no table at" in refused(*absent)
    with pytest.warns(UserWarning, match="no row in labels.csv"):
        assert "Did you mean 'form'" in refused(*words, "--kind", "forms=classification", "--overwrite")
    with pytest.warns(UserWarning, match="no row in labels.csv"):
        message = refused(*words, "--kind", "form=regression", "--overwrite")
    assert "'form' as regression" in message
    for option in (["--balancing", "equal"], ["--kind", "form=classification"]):
        result = CliRunner().invoke(cli, ["train", str(shapes), "--out", str(tmp_path / "run"), *option])
        assert result.exit_code == 2
        assert "give --labels too" in result.output


def test_the_demo_compares_frozen_fine_tuned_and_scratch(tmp_path):
    done = tlkit("demo", "--out", tmp_path / "demo", "--image-size", 32, "--epochs", 1)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()
    metrics = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    assert metrics["technique"] == "fine-tuning"
    assert [each["technique"] for each in metrics["runs"]] == ["feature-extraction", "scratch"]
    assert metrics["runs"][0]["accuracy"]["train"] > 0.5 > metrics["runs"][1]["accuracy"]["train"]
    assert (tmp_path / "demo" / "report.html").stat().st_size > 100_000


def test_ctrl_c_keeps_the_best_model(shapes, tmp_path):
    words = [TLKIT, "train", shapes, "--out", tmp_path / "run", *LENET[:-1], "3000"]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )
    for line in process.stdout:
        if line.startswith("Epoch 3/"):
            process.send_signal(signal.SIGINT)
            break
    process.communicate(timeout=120)
    assert process.returncode == 130
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["interrupted"] is True
    assert command("predict", tmp_path / "run", shapes / "square" / "1.png").exit_code == 0


def test_an_error_is_one_line_without_a_traceback(tmp_path):
    done = tlkit("train", tmp_path / "nowhere", "--out", tmp_path / "run", *LENET)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    assert "no folder at" in done.stderr


def test_help_loads_nothing_heavy():
    code = "import sys; from tlkit.cli import cli; cli(['--help'], standalone_mode=False); "
    code += "print({'keras', 'tensorflow', 'numpy', 'pandas', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Transfer learning with Keras" in done.stdout
    assert done.stdout.endswith("set()\n")


def test_unknown_names_come_with_the_nearest(tmp_path, shapes):
    out = ["--out", tmp_path / "run"]
    assert "Did you mean 'emoji/twemoji'" in refused("train", "emoji/twemojy", *out)
    assert "Did you mean 'EfficientNetLite0'" in refused(
        "train", shapes, *out, "--backbone", "EficientNetLite0"
    )


def test_a_size_below_the_smallest_is_refused_before_the_data_are_read(tmp_path, shapes):
    message = refused("train", shapes, "--out", tmp_path / "run", "--image-size", "16")
    assert "smallest size is 32" in message


def test_an_occupied_folder_is_refused_before_anything_is_done(tmp_path, shapes):
    (tmp_path / "notes.txt").write_text("mine")
    assert "--overwrite" in refused("train", shapes, "--out", tmp_path, *LENET)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_weights_that_are_not_here_are_named(tmp_path, shapes, monkeypatch):
    out = ["--out", tmp_path / "run"]
    assert "there.keras" in refused("train", shapes, *out, "--weights", "there.keras")
    assert "no ImageNet weights of LeNet" in refused("train", shapes, *out, "--backbone", "LeNet")


def test_what_cannot_be_predicted_is_refused(tmp_path, trained):
    _, out = trained
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "model.keras").write_text("no model")
    assert "no model at" in refused("predict", tmp_path / "absent.keras", tmp_path)
    assert "not an image classifier" in refused("predict", tmp_path / "model.keras", tmp_path)
    assert "no image in" in refused("predict", out, tmp_path / "empty")
    assert "no file at" in refused("predict", out, tmp_path / "absent.png")
    with pytest.warns(UserWarning, match="unreadable"):
        assert "None of the 1 images" in refused("predict", out, tmp_path / "text.png")


def test_lists_are_json_on_request():
    rows = json.loads(CliRunner().invoke(cli, ["backbones", "--json"]).stdout)
    lite = next(row for row in rows if row["name"] == "EfficientNetLite0")
    assert lite["here"] is True
    assert lite["parameters"] == 3413024
    rows = json.loads(CliRunner().invoke(cli, ["datasets", "--json"]).stdout)
    assert {"emoji/twemoji", "digits/mnist"} <= {row["name"] for row in rows}


@pytest.fixture(scope="module")
def numerals(tmp_path_factory):
    """A folder of 12 MNIST digits of each class, sorted by class."""
    from tlkit import load

    root, train = tmp_path_factory.mktemp("data") / "numerals", load("digits/mnist").train
    for label in range(10):
        (root / str(label)).mkdir(parents=True)
        for i, image in enumerate(train.images[train.labels == label][:12]):
            Image.fromarray(image).save(root / str(label) / f"{i}.png")
    return root


LENET_BN = ["--backbone", "LeNetBN", "--image-size", 28]


def test_adapt_writes_model_metrics_and_report(tmp_path, numerals):
    """The target is a folder without class sub-folders; it is judged by labelled images of its own kind."""
    from tlkit import load

    for i, image in enumerate(load("digits/optical").train.images[:60]):
        path = tmp_path / "target" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image).save(path)
    options = ["--method", "dann", *LENET_BN, "--epochs", 2, "--evaluate", "digits/optical"]
    done = tlkit("adapt", numerals, tmp_path / "target", "--out", tmp_path / "run", *options)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["method"] == "dann"
    assert set(metrics["accuracy"]) == {"source_only", "last", "selected", "oracle", "ceiling"}
    assert all(0 <= value <= 1 for value in metrics["accuracy"].values())
    assert metrics["accuracy"]["oracle"] >= metrics["accuracy"]["last"]
    assert set(metrics["a_distance"]) == {"before", "after"}
    page = (tmp_path / "run" / "report.html").read_text()
    for said in ("What adapting gained", "nobody has these in life", "discriminator is lost"):
        assert said in page
    assert command("predict", tmp_path / "run", tmp_path / "target" / "0.png").exit_code == 0


def test_adapt_without_target_labels_says_so(tmp_path, numerals):
    options = [*LENET_BN, "--epochs", 1, "--method", "adabn", "--select", "none"]
    done = command("adapt", numerals, "digits/optical", "--out", tmp_path / "run", *options)
    assert done.exit_code == 0, done
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(metrics["accuracy"].values()) == {None}
    assert metrics["interval"] is None
    page = (tmp_path / "run" / "report.html").read_text()
    assert "nothing here says how good it is on the target" in page
    assert "pictures right" not in page  # those of the source would be no answer


@pytest.mark.parametrize(
    "words",
    [
        ["train", "digits/optical", "--technique", "feature-extraction"],
        ["adapt", "digits/optical", "digits/mnist", "--method", "entropy", "--features"],
    ],
    ids=lambda words: words[0],
)
def test_the_same_seed_gives_the_same_random_weights(words, tmp_path):
    import keras

    lenet = ["--backbone", "LeNet", "--weights", "none", "--image-size", 28, "--epochs", 1]
    weights = []
    for process, out in enumerate((tmp_path / "once", tmp_path / "again")):
        keras.utils.set_random_seed(process)  # each process begins with another random state
        assert command(*words, *lenet, "--seed", 3, "--out", out).exit_code == 0
        weights.append(keras.saving.load_model(out / "model.keras").get_weights())
    for once, again in zip(*weights, strict=True):
        np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_that_is_out_of_range_is_refused(seed, tmp_path):
    done = command("train", "digits/optical", "--out", tmp_path / "run", "--seed", seed)
    assert done.exit_code == 2
    assert "0<=x<=4294967295" in done.stderr


def test_every_seed_option_has_the_same_range():
    options = [each for one in cli.commands.values() for each in one.params if each.name == "seed"]
    assert {(each.type.min, each.type.max) for each in options} == {(0, 2**32 - 1)}


def test_adapt_lists_its_methods_and_refuses_what_does_not_fit(tmp_path, shapes):
    listed = CliRunner().invoke(cli, ["adapt", "--list"]).stdout
    assert "features that a discriminator cannot tell apart (Ganin et al. 2016)" in listed
    assert len(listed.splitlines()) == 20
    code = "import sys; from tlkit.cli import cli; cli(['adapt', '--list'], standalone_mode=False); "
    code += "print({'keras', 'tensorflow', 'sklearn', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
    out = ["--out", tmp_path / "run"]
    assert "Did you mean 'dann'" in refused("adapt", shapes, shapes, *out, "--method", "dan")
    assert "Did you mean 'snd'" in refused("adapt", shapes, shapes, *out, "--select", "snb")
    small = ["--backbone", "LeNet", "--image-size", 28, "--overwrite"]
    message = refused("adapt", shapes, "digits/mnist", *out, *small, "--evaluate", "digits/mnist")
    assert "only the source has circle, square" in message
    assert "no BatchNormalization" in refused("adapt", shapes, shapes, *out, *small, "--method", "adabn")
