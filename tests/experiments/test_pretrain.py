"""Pretraining without labels, from data to a backbone and its report: measured, resumed, refused early."""

import errno
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from pushes import full, graph

import tlkit
from tlkit._internal import outputs
from tlkit.callbacks import Backup
from tlkit.cli import cli
from tlkit.cli.pretrain import network_for
from tlkit.data import Split, is_folder, load_unsorted
from tlkit.errors import DataError, OutputError, TlkitError, TlkitWarning, UnknownNameError
from tlkit.experiments.pretrain import objective_for, pretrain
from tlkit.reports.document import Code, Figure
from tlkit.reports.html import render
from tlkit.techniques.self_supervised import Denoising, Rotation, SelfSupervised, SimCLR
from tlkit.techniques.self_supervised.quality import evaluation_split

TLKIT = Path(sys.executable).with_name("tlkit")
SMALL = ["--image-size", "28", "--batch-size", "32"]


def command(*words):
    """Run a command in this process."""
    return CliRunner().invoke(cli, list(map(str, words)))


def refused(*words):
    result = command(*words)
    assert isinstance(result.exception, TlkitError), result
    return str(result.exception)


@pytest.fixture(scope="module")
def run(digits):
    return pretrain(digits, evaluate=digits, epochs=2, batch_size=64, seed=5)


@pytest.fixture(scope="module")
def folder(digits, tmp_path_factory):
    """A folder of 10 images of each of 5 digits, sorted by class, and one file that is no image."""
    root = tmp_path_factory.mktemp("data") / "my <digits>"
    for label in range(5):
        chosen = digits.train.images[digits.train.labels == label][:10]
        for i, image in enumerate(chosen):
            path = root / str(label) / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    (root / "0" / "broken.png").write_bytes(b"not an image")
    return root


@pytest.fixture
def untrained(monkeypatch):
    """Skip the training itself."""

    def fit(*_, **__):
        history = keras.callbacks.History()
        history.history = {}
        return history

    monkeypatch.setattr(SelfSupervised, "fit", fit)


def page(run):
    return render(
        run.report(Path("runs/mine")),
        command="tlkit pretrain mine",
        versions={},
        seconds=run.seconds,
        files=["backbone.keras"],
    )


def test_the_backbone_learned_and_is_measured_before_and_after(run, digits):
    assert run.model.name == "LeNet"
    assert len(run.history["loss"]) == len(run.history["spread"]) == 2
    for measures in (run.before, run.after):
        assert set(measures) == {"effective_rank", "spread", "alignment", "uniformity", "knn_accuracy"}
        assert 0 <= measures["knn_accuracy"] <= 1
    keras.utils.set_random_seed(5)
    control = tlkit.load_backbone("LeNet", weights=None)
    sample = digits.train.images[run.sampled]
    np.testing.assert_allclose(run.features["before"], control.predict(sample, verbose=0), atol=1e-4)
    np.testing.assert_allclose(run.features["after"], run.model.predict(sample, verbose=0), atol=1e-4)
    assert not np.allclose(run.features["before"], run.features["after"], atol=1e-3)
    assert run.after["alignment"] < run.before["alignment"]


def test_features_are_evaluated_by_nearest_neighbours(run, digits):
    from sklearn.neighbors import KNeighborsClassifier

    unit = [run.model.predict(split.images, verbose=0) for split in (digits.train, digits.test)]
    unit = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in unit]
    voters = KNeighborsClassifier(5, weights="distance", metric="cosine").fit(unit[0], digits.train.labels)
    assert run.after["knn_accuracy"] == pytest.approx(voters.score(unit[1], digits.test.labels), abs=0.011)


def test_features_are_evaluated_on_the_test_split_else_on_validation_else_not_at_all(digits):
    assert evaluation_split(digits) == "test"
    assert evaluation_split(replace(digits, test=None)) == "validation"
    assert evaluation_split(replace(digits, test=digits.test.unlabelled())) == "validation"
    assert evaluation_split(replace(digits, test=None, validation=None)) is None
    assert evaluation_split(replace(digits, train=digits.train.unlabelled())) is None
    assert evaluation_split(None) is None


def changes(objective):
    """The classes of the layers that change an image."""
    return {type(layer).__name__ for layer in objective.views.layers}


def test_digits_are_neither_mirrored_nor_coloured_and_other_images_are(digits, tmp_path, untrained):
    few = digits.train.subset(slice(8))
    pretrain(replace(digits, train=few), epochs=1, backup=tmp_path / "digits")
    pretrain(few, epochs=1, backup=tmp_path / "others")
    digit, other = (
        json.loads((tmp_path / name / "settings.json").read_text()) for name in ("digits", "others")
    )
    digit_views, other_views = ({view.split()[0] for view in each["views"]} for each in (digit, other))
    colours = {"RandomBrightness", "RandomContrast", "RandomSaturation", "RandomHue", "RandomGrayscale"}
    assert not {"RandomFlip", *colours} & digit_views
    assert {"RandomFlip", *colours} <= other_views
    assert digit["batch size"] == other["batch size"] == 8, "fewer images than a batch"
    assert changes(objective_for(digits, "simclr")) == digit_views
    coloured = changes(objective_for(digits, "simclr", colour=True))
    assert colours <= coloured
    assert "RandomFlip" not in coloured
    mirrored = changes(objective_for(digits, "byol", flip=True))
    assert "RandomFlip" in mirrored
    assert not colours & mirrored


def test_views_come_from_the_seed_whenever_the_objective_was_built(digits, untrained):
    few = digits.train.subset(slice(8))
    one, again, other = (
        pretrain(few, method=SimCLR(), epochs=1, seed=seed).shown["view 1"] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    ("method", "rows"),
    [
        ("rotation", ["image", "rotated 90°", "rotated 180°", "rotated 270°"]),
        pytest.param("masked", ["image", "corrupted", "reconstructed"], marks=full),
    ],
)
def test_what_a_method_asks_is_shown(method, rows, digits):
    run = pretrain(digits.train, method=method, epochs=1, batch_size=100)
    assert list(run.shown) == rows
    assert set(run.after) == {"effective_rank", "spread"}
    assert {(each.shape, each.dtype.name) for each in run.shown.values()} == {((6, 28, 28, 3), "uint8")}
    np.testing.assert_array_equal(run.shown["image"], digits.train.images[run.sampled[:6]])
    assert not np.array_equal(run.shown[rows[1]], run.shown["image"])
    text = page(run)
    assert "There are no labels to evaluate it on" in text
    assert "alignment" not in text


def test_an_objective_of_ones_own_is_reported_by_the_name_of_its_class(digits, untrained):
    class Mine(Rotation):
        pass

    run = pretrain(digits.train.subset(slice(16)), method=Mine(), epochs=1)
    assert run.method == "Mine"
    assert "pretraining by Mine with LeNet" in page(run)


@pytest.mark.parametrize("batch_norm", [None, True])
def test_pretrained_statistics_stay_unless_they_shall_learn(batch_norm, digits):
    backbone = tlkit.load_backbone("LeNetBN", weights=None)
    norm = backbone.get_layer("conv1_bn")
    before = [np.array(each) for each in norm.get_weights()]
    few = digits.train.subset(slice(16))
    run = pretrain(few, method="denoising", backbone=backbone, batch_norm=batch_norm, epochs=1)
    assert run.model is backbone
    assert norm.trainable
    same = all(np.array_equal(*each) for each in zip(before, norm.get_weights(), strict=True))
    assert same is not bool(batch_norm)


def test_what_cannot_be_learned_from_is_refused_and_leaves_nothing_behind(digits, tmp_path):
    backbone = tlkit.load_backbone("LeNet", weights=None, image_size=32)
    with pytest.raises(DataError, match="Load the data with image_size=32"):
        pretrain(digits.train, backbone=backbone, backup=tmp_path / "state")
    assert not (tmp_path / "state").exists()
    with pytest.raises(DataError, match="1 images are too few"):
        pretrain(digits.train.subset([0]), epochs=1)
    with pytest.raises(UnknownNameError, match="Did you mean 'simclr'"):
        pretrain(digits.train, method="simcrl")


class CtrlC(keras.callbacks.Callback):
    """Press Ctrl-C in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.chosen = epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == self.chosen and batch == 0:
            os.kill(os.getpid(), signal.SIGINT)


def test_what_was_stopped_ends_where_it_would_have_ended(digits, tmp_path):
    few = replace(digits, train=digits.train.subset(slice(48)))
    same = {"method": "byol", "epochs": 3, "batch_size": 16, "seed": 3}
    whole = pretrain(few, **same)
    stopped = pretrain(few, backup=tmp_path / "state", callbacks=[CtrlC(1)], **same)
    assert stopped.interrupted
    assert len(stopped.history["loss"]) == 2
    assert [path.name for path in (tmp_path / "state").glob("*.npz")] == ["epoch-00001.npz"]
    for _ in range(2):  # once more, when all is done, changes nothing
        resumed = pretrain(few, backup=tmp_path / "state", **same)
        assert resumed.history["loss"] == pytest.approx(whole.history["loss"], rel=1e-4)
        assert resumed.before == pytest.approx(whole.before, rel=1e-4)
        for one, other in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
            np.testing.assert_allclose(other, one, atol=1e-5)


def test_other_settings_than_those_of_the_stopped_training_are_named(digits, tmp_path, untrained):
    few = digits.train.subset(slice(16))
    same = {"epochs": 1, "backup": tmp_path / "run" / "state"}
    pretrain(few, **same)
    for change, said in (
        ({"method": "byol"}, "method simclr then and byol now"),
        ({"seed": 1}, "seed 0 then and 1 now"),
        ({"backbone": "LeNetBN"}, "backbone LeNet then and LeNetBN now"),
        ({"learning_rate": 1e-5}, "learning rate 0.001 then and 1e-05 now"),
        ({"backbone": tlkit.load_backbone("LeNet", weights=None)}, "starting weights "),
    ):
        with pytest.raises(TlkitError, match=rf"{said}.*--overwrite"):
            pretrain(few, **{**same, **change})
    with pytest.raises(TlkitError, match="images 16 then and 15 now"):
        pretrain(few.subset(slice(15)), **same)
    with pytest.raises(TlkitError, match="content "):
        pretrain(Split(255 - few.images), **same)


def test_a_full_disk_says_so_and_keeps_the_state_before(digits, tmp_path, monkeypatch):
    class Full(Backup):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                monkeypatch.setattr(np, "savez", no_room)
            super().on_epoch_end(epoch, logs)

    def no_room(path, **arrays):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    backbone = tlkit.load_backbone("LeNet", weights=None)
    learner = SelfSupervised(backbone, Denoising())
    learner.compile("adam")
    with pytest.raises(OutputError, match=r"No space left on device.*--resume"):
        learner.fit(
            digits.train.images[:8], batch_size=8, epochs=2, callbacks=[Full(tmp_path, {})], verbose=0
        )
    assert [path.name for path in tmp_path.glob("*.npz")] == ["epoch-00001.npz"]
    assert Backup(tmp_path, {}).epoch == 1


def test_a_stopped_training_is_neither_overwritten_nor_left_by_mistake(tmp_path):
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "notes.txt").write_text("mine")
    outputs.discard(tmp_path)
    assert (tmp_path / "unfinished" / "notes.txt").exists()
    with pytest.raises(OutputError, match="not empty"):
        outputs.prepare(tmp_path, resume=True)
    (tmp_path / "unfinished" / "settings.json").write_text("{}")
    with pytest.raises(OutputError, match=r"--resume.*--overwrite"):
        outputs.prepare(tmp_path)
    outputs.prepare(tmp_path, resume=True)
    outputs.prepare(tmp_path, overwrite=True)
    outputs.discard(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_page_shows_all_and_asks_for_nothing_from_outside(run):
    card = replace(run.data.card, title="<b>mine</b>", name="digits/<i>")
    data = replace(run.data, card=card, skipped=["<u>broken</u>.png: truncated"])
    changed = replace(run, data=data, evaluation=replace(run.evaluation, card=card), interrupted=True)
    document, text = changed.report(Path("runs/mine")), page(changed)
    assert f"{100 * run.after['knn_accuracy']:.0f} % right by nearest neighbours" in document.answer
    assert "interrupted before its end" in document.cautions[0]
    titles = [section.title for section in document.sections]
    assert titles[:3] == ["Which images are similar", "The pretext task", "Training"]
    for expected in ("before pretraining", "view 1", "Train a classifier on it", "<code>backbone.keras"):
        assert expected in text
    blocks = [block for section in document.sections for block in section.blocks]
    command = next(block.text for block in blocks if isinstance(block, Code))
    assert "runs/mine/backbone.keras --backbone LeNet --image-size 28" in command
    figures = [block for block in blocks if isinstance(block, Figure)]
    assert len(figures) == 5  # accuracy, neighbours before and after, views, curves
    assert all(len(block.alt) > 20 for block in figures)
    assert not re.search(r"<(b|i|u)>", text)
    sources = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)""", text)
    assert len(sources) > len(figures)
    assert all(source.startswith("data:image/png;base64,") for source in sources)


def test_a_gain_within_the_interval_and_no_gain_are_cautions(run):
    labels = run.evaluated.labels

    def right(share):
        return np.where(np.arange(len(labels)) < share * len(labels), labels, (labels + 1) % 10)

    def cautions(before, after=0.8):
        predicted = {"before": right(before), "after": right(after)}
        return replace(run, predicted=predicted, features={}, history={}).report().cautions

    assert "gained nothing" in cautions(0.8)[0]
    assert "cannot tell" in cautions(0.79)[0]
    assert cautions(0.3) == []


def test_metrics_are_plain_and_finite(run, tmp_path):
    out = tlkit.write_report(run, tmp_path / "run", command="tlkit pretrain mine")
    numbers = json.loads((out / "metrics.json").read_text())
    assert sorted(path.name for path in out.iterdir()) == ["backbone.keras", "metrics.json", "report.html"]
    assert numbers["command"] == "tlkit pretrain mine"
    assert numbers["evaluate"] == "digits/optical"
    assert numbers["loss"] == run.history["loss"][-1]
    assert numbers["before"]["knn_accuracy"] == run.before["knn_accuracy"]
    assert numbers["interval"]["low"] < numbers["knn_accuracy"] < numbers["interval"]["high"]
    assert numbers["splits"] == {"train": 200, "validation": 100, "test": 100}
    assert set(numbers["seconds"]) == {"training", "total"}
    plain = keras.models.load_model(out / "backbone.keras")
    images = run.data.test.images
    np.testing.assert_allclose(
        plain.predict(images, verbose=0), run.model.predict(images, verbose=0), atol=1e-5
    )


@pytest.fixture(scope="module")
def pretrained(folder, tmp_path_factory):
    """`tlkit pretrain` on the folder without labels: its folder."""
    out = tmp_path_factory.mktemp("runs") / "pretrained"
    with pytest.warns(TlkitWarning, match="broken.png"):
        done = command("pretrain", folder, "--out", out, *SMALL, "--backbone", "LeNet", "--epochs", 1)
    assert done.exit_code == 0, done
    assert "50 images without labels, 28 x 28 pixels" in done.stdout
    return out


def test_a_folder_needs_no_labels(pretrained):
    assert sorted(path.name for path in pretrained.iterdir()) == [
        "backbone.keras",
        "metrics.json",
        "report.html",
    ]
    numbers = json.loads((pretrained / "metrics.json").read_text())
    assert numbers["knn_accuracy"] is None
    assert numbers["evaluate"] is None
    assert numbers["effective_rank"] > 1
    assert numbers["skipped"]["count"] == 1
    text = (pretrained / "report.html").read_text()
    assert "There are no labels to evaluate it on" in text
    assert "broken.png" in text


def test_train_takes_the_backbone_and_refuses_that_of_another(pretrained, folder, tmp_path):
    given = ["--weights", pretrained / "backbone.keras", "--image-size", 28, "--epochs", 1]
    with pytest.warns(TlkitWarning, match=r"broken\.png"):
        done = command("train", folder, "--out", tmp_path / "run", "--backbone", "LeNet", *given)
    assert done.exit_code == 0, done
    network = keras.models.load_model(tmp_path / "run" / "model.keras").get_layer("LeNet")
    learned = keras.models.load_model(pretrained / "backbone.keras")
    for one, other in zip(learned.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    other = ["--backbone", "LeNetBN", "--out", tmp_path / "other"]
    message = refused("pretrain", "digits/optical", *other, *given[:2])
    assert "\n" not in message
    assert "do not fit LeNetBN" in message


def test_a_folder_that_evaluates_itself_keeps_its_test_images_apart(folder, tmp_path):
    words = ["pretrain", folder, "--evaluate", f"{folder}/", "--out", tmp_path / "run", *SMALL]
    with pytest.warns(TlkitWarning, match=r"broken\.png"):
        done = command(*words, "--backbone", "LeNet", "--epochs", 1, "--method", "simsiam")
    assert done.exit_code == 0, done
    numbers = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert numbers["splits"] == {"train": 30, "validation": 10, "test": 10}
    assert numbers["interval"]["images"] == 10


@full
@graph  # as in the process that is killed
def test_a_killed_command_goes_on_with_resume_and_ends_the_same(tmp_path):
    """Killed by -9 in the second epoch."""
    words = ["pretrain", "digits/optical", "--backbone", "LeNet", "--epochs", 3]
    killed = [*words, "--out", tmp_path / "killed"]
    process = subprocess.Popen(
        [TLKIT, *map(str, killed)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    for line in process.stdout:
        if line.startswith("Epoch 2/"):
            process.kill()
            break
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["unfinished"]

    message = refused(*killed)
    assert "--resume" in message
    assert "--overwrite" in message
    assert "batch size 128 then and 64 now" in refused(*killed, "--resume", "--batch-size", 64)
    assert "backbone LeNet then and LeNetBN now" in refused(*killed, "--resume", "--backbone", "LeNetBN")
    both = command(*killed, "--resume", "--overwrite")
    assert both.exit_code == 2
    assert "not both" in both.output

    done = command(*killed, "--resume")
    assert done.exit_code == 0, done
    assert "Epoch 2/3" in done.stdout
    assert "Epoch 1/3" not in done.stdout
    assert command(*words, "--out", tmp_path / "whole").exit_code == 0
    numbers = [json.loads((tmp_path / each / "metrics.json").read_text()) for each in ("killed", "whole")]
    assert numbers[0]["history"]["loss"] == pytest.approx(numbers[1]["history"]["loss"], rel=1e-3)
    assert numbers[0]["before"] == pytest.approx(numbers[1]["before"], rel=1e-3)
    assert numbers[0]["epochs"] == 3
    one, other = (keras.models.load_model(tmp_path / each / "backbone.keras") for each in ("killed", "whole"))
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert "not empty" in refused(*killed, "--resume")  # it is finished


def test_the_command_explains_its_methods_and_refuses_what_does_not_fit(tmp_path):
    code = "import sys; from tlkit.cli import cli; cli(['pretrain', '--list'], standalone_mode=False); "
    code += "print({'keras', 'tensorflow', 'sklearn', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
    assert "find the other view of an image among all views of the batch (Chen et al. 2020)" in done.stdout
    assert len(done.stdout.splitlines()) == 9
    out = ["--out", tmp_path / "run"]
    assert "Did you mean 'simclr'" in refused("pretrain", "digits/optical", *out, "--method", "simcrl")
    assert "Did you mean 'digits/optical'" in refused("pretrain", "digits/optcal", *out)
    assert "no folder at" in refused("pretrain", tmp_path / "absent", *out)
    assert command("pretrain", "digits/optical").exit_code == 2


def test_small_images_get_a_small_network_and_photos_a_pretrained_one():
    asked = {
        ("digits/mnist", None, None): ("LeNet", 28),
        ("emoji", None, None): ("EfficientNetLite0", 128),
        ("my/photos", None, None): ("EfficientNetLite0", 96),
        ("my/photos", None, 32): ("LeNet", 32),
        ("my/photos", "LeNet", None): ("LeNet", 28),
        ("my/photos", "resnet50", 64): ("ResNet50", 64),
        ("digits/mnist", "EfficientNetLite0", None): ("EfficientNetLite0", 32),
    }
    for given, (name, size) in asked.items():
        network, found = network_for(*given)
        assert (network.name, found) == (name, size), given


def test_an_unsorted_folder_is_a_data_set_without_classes(folder):
    with pytest.warns(TlkitWarning, match=r"broken\.png"):
        data = load_unsorted(folder, image_size=16)
    assert data.class_names == []
    assert not data.train.labelled
    assert data.train.images.shape == (50, 16, 16, 3)
    assert "0/3.png" in data.train.names
    assert is_folder(folder)
    assert not is_folder("digits/mnist")
