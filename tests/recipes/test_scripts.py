"""Every recipe, run: it keeps what it promises, and its model takes raw pixels."""

import csv
import inspect
import json
import math
import re
import shutil
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest
from pushes import full, graph
from sklearn.neighbors import KNeighborsClassifier

from tlkit.challenges import model_selection
from tlkit.recipes import (
    discriminative_rates,
    fine_tuning,
    frozen_features,
    many_workers,
    multi_task,
    temperature,
)
from tlkit.techniques.domain_adaptation.correlation_alignment import coral

pytestmark = graph  # a recipe trains for many steps
STEPS = 6  # of an epoch: 168 of 240 digits


@pytest.fixture
def pretrained(settings, folder, weights):
    """Constants of a script that starts from trained weights."""
    return {**settings, "DATA": repr(str(folder)), "WEIGHTS": repr(str(weights))}


@pytest.fixture
def domains(settings, folder, faded_folder, weights):
    """The same for two domains."""
    both = {"SOURCE": repr(str(folder)), "TARGET": repr(str(faded_folder))}
    return {**settings, **both, "WEIGHTS": repr(str(weights)), "LEARNING_RATE": 1e-3}


def accuracy(model, images, labels):
    return np.mean(model.predict(images, verbose=0).argmax(axis=1) == labels)


def moves(before, after):
    """The largest change of each weight of the tiny network, by its path."""
    pairs = zip(before.weights, after.weights, strict=True)
    return {one.path: float(np.abs(np.array(one) - np.array(other)).max()) for one, other in pairs}


def test_frozen_features_leave_the_backbone_as_it_was(
    run, network, pretrained, weights, digits_of_three, capsys
):
    out = run("frozen-features", EPOCHS=20, **pretrained)
    model = keras.models.load_model(out / "model.keras")
    assert accuracy(model, *digits_of_three) > 0.9
    assert set(moves(network(weights=weights), model.get_layer("tiny")).values()) == {0.0}
    said = capsys.readouterr().out
    assert "on 36 images" in said
    assert "classes 0, 1, 7" in said
    assert json.loads((out / "model.classes.json").read_text("utf-8")) == ["0", "1", "7"]


def contents(dataset):
    """The images of batches, as hashable values."""
    return [image.tobytes() for images, *_ in dataset.as_numpy_iterator() for image in images]


@pytest.mark.parametrize(
    "module", [frozen_features, fine_tuning, discriminative_rates, many_workers, multi_task]
)
def test_no_image_is_in_two_splits(module, folder, digits_of_three, monkeypatch, tmp_path):
    (tmp_path / "labels.csv").write_text("file,digit\n0/000.png,0\n", "utf-8")
    constants = {"DATA": str(folder), "IMAGE_SIZE": 32, "BATCH_SIZE": 25}
    constants |= {"LABELS": tmp_path / "labels.csv"} if module is multi_task else {}
    for name, value in constants.items():
        monkeypatch.setattr(module, name, value)
    splits = [contents(split) for split in module.load_splits()[:3]]
    assert [len(split) for split in splits] == [168, 36, 36]
    images = {image.astype("float32").tobytes() for image in digits_of_three[0]}
    assert set().union(*splits) == images
    assert sum(len(set(split)) for split in splits) == len(images)
    again = [contents(split) for split in module.load_splits()[1:3]]
    assert again == splits[1:]


def test_the_temperature_knows_the_splits_of_the_training(folder, monkeypatch):
    for name, value in {"DATA": str(folder), "IMAGE_SIZE": 32, "BATCH_SIZE": 25}.items():
        monkeypatch.setattr(fine_tuning, name, value)
    monkeypatch.setattr(temperature, "DATA", str(folder))
    ours, theirs = temperature.load_splits((32, 32)), fine_tuning.load_splits()[1:3]
    assert [contents(split) for split in ours] == [contents(split) for split in theirs]


@pytest.fixture
def answers(run, capsys):
    """Return what a script prints for an image file, after its training."""

    def printed(name, image, **constants):
        run(name, **constants)
        capsys.readouterr()
        run(name, words=[image], **constants)
        return capsys.readouterr().out

    return printed


def test_a_script_predicts_an_image_file(answers, pretrained, folder, digits_of_three, tmp_path):
    said = answers("frozen-features", folder / "7" / "200.png", EPOCHS=20, **pretrained)
    name, percent = re.search(r"7/200\.png: (\S+) \(([\d.]+)%\)", said.replace("\\", "/")).groups()
    model = keras.models.load_model(tmp_path / "model.keras")
    [probabilities] = model.predict(digits_of_three[0][200:201], verbose=0)
    assert name == "017"[probabilities.argmax()]
    assert float(percent) == pytest.approx(100 * probabilities.max(), abs=0.06)


@pytest.mark.parametrize(
    ("name", "epochs"),
    [
        pytest.param("frozen-features", {"EPOCHS": 20}, marks=full),
        (
            "fine-tuning",
            {"HEAD_EPOCHS, HEAD_RATE": "8, 2e-2", "EPOCHS, LEARNING_RATE": "2, 1e-4", "FLIP": None},
        ),
        pytest.param(
            "discriminative-rates",
            {"HEAD_EPOCHS, HEAD_RATE": "8, 2e-2", "EPOCHS, LEARNING_RATE": "1, 1e-4"},
            marks=full,
        ),
    ],
)
def test_a_saved_network_replaces_a_download(
    run, name, epochs, settings, folder, saved_network, digits_of_three
):
    offline = {"WEIGHTS": repr(str(saved_network)), "BACKBONE": None, "PREPROCESS": None}
    out = run(name, **{**settings, **offline, **epochs, "DATA": repr(str(folder))})
    assert accuracy(keras.models.load_model(out / "model.keras"), *digits_of_three) > 0.9


def test_fine_tuning_moves_the_top_alone_and_little(run, network, pretrained, weights, digits_of_three):
    rates = {"HEAD_EPOCHS, HEAD_RATE": "8, 2e-2", "EPOCHS, LEARNING_RATE": "2, 1e-4"}
    out = run("fine-tuning", FLIP=None, UNFROZEN=0.4, **rates, **pretrained)
    model = keras.models.load_model(out / "model.keras")
    assert accuracy(model, *digits_of_three) > 0.9
    moved = moves(network(weights=weights), model.get_layer("tiny"))
    assert 0 < moved.pop("conv_2/kernel") < 1.5 * 2 * STEPS * 1e-4
    assert set(moved.values()) == {0.0}  # lower layers and all statistics


def test_discriminative_rates_move_lower_stages_less(run, network, pretrained, weights, digits_of_three):
    rates = {"HEAD_EPOCHS, HEAD_RATE": "8, 2e-2", "EPOCHS, LEARNING_RATE": "1, 1e-3"}
    out = run("discriminative-rates", STAGES=2, DECAY=0.2, **rates, **pretrained)
    model = keras.models.load_model(out / "model.keras")  # without the class of its optimizer
    assert accuracy(model, *digits_of_three) > 0.9
    moved = moves(network(weights=weights), model.get_layer("tiny"))
    steps = [moved.pop(f"conv_{i}/kernel") / (STEPS * 1e-3) for i in range(3)]
    assert steps == pytest.approx([0.2**2, 0.2**2, 0.2], rel=0.4)
    assert set(moved.values()) == {0.0}


def features_of(model, images):
    return model.layers[1].predict(images, verbose=0)


@full
def test_dann_hides_the_domain_from_its_discriminator(run, domains, digits_of_three, capsys):
    def told_apart(strength):
        out = run("dann", EPOCHS=15, STRENGTH=strength, **{**domains, "LEARNING_RATE": 5e-3})
        assert accuracy(keras.models.load_model(out / "model.keras"), *digits_of_three) > 0.9
        shares = re.findall(r"(?:source|target)_domain_accuracy: ([\d.]+)", capsys.readouterr().out)
        return np.mean([float(share) for share in shares[-10:]])  # both domains in the last five epochs

    assert told_apart(0.0) > 0.85
    assert told_apart(0.3) < 0.75


@full
def test_coral_brings_the_covariances_together(run, domains, digits_of_three, faded):
    def distance(weight):
        out = run("coral", EPOCHS=10, WEIGHT=weight, **domains)
        model = keras.models.load_model(out / "model.keras")
        assert accuracy(model, *digits_of_three) > 0.9
        features = features_of(model, digits_of_three[0]), features_of(model, faded)
        return float(coral(*features))

    assert distance(100.0) < 0.5 * distance(0.0)


@pytest.mark.parametrize("name", ["dann", "coral"])
def test_adaptation_reports_on_the_target(run, name, domains, faded_folder, saved_network, capsys):
    offline = {"WEIGHTS": repr(str(saved_network)), "BACKBONE": None, "PREPROCESS": None, "EPOCHS": 1}
    out = run(name, **{**domains, **offline})
    said = capsys.readouterr().out
    assert re.search(r"validation accuracy on the source [\d.]+% on 48 images", said)
    found = re.search(r"target images per predicted class: 0 (\d+), 1 (\d+), 7 (\d+)", said)
    assert sum(map(int, found.groups())) == 240
    assert "accuracy on the target" not in said
    assert json.loads((out / "model.classes.json").read_text("utf-8")) == ["0", "1", "7"]
    run(name, LABELLED_TARGET=repr(str(faded_folder)), **{**domains, **offline})
    assert re.search(r"accuracy on the target [\d.]+% on 240 labelled images", capsys.readouterr().out)


def test_multi_task_learns_from_missing_labels(run, pretrained, folder, digits_of_three, tmp_path, capsys):
    rows = [
        # the first third is in no row, the second has one label of the two
        (path, "" if i % 3 == 1 else path.parent.name, "round" if path.parent.name == "0" else "straight")
        for i, path in enumerate(sorted(folder.rglob("*.png")))
        if i % 3
    ]
    with (tmp_path / "labels.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["file", "digit", "form"])
        writer.writerows((path.relative_to(folder).as_posix(), digit, form) for path, digit, form in rows)
    out = run("multi-task", EPOCHS=8, **{**pretrained, "LEARNING_RATE": 3e-3})
    images, labels = digits_of_three
    answers = keras.models.load_model(out / "model.keras").predict(images, verbose=0)
    assert np.mean(answers["digit"].argmax(axis=1) == labels) > 0.9
    assert np.mean(answers["form"].argmax(axis=1) == (labels > 0)) > 0.9
    said = capsys.readouterr().out
    assert "240 images; labelled: {'digit': 80, 'form': 160}" in said
    assert "classes round, straight" in said
    tested = [int(n) for n in re.findall(r"test accuracy [\d.]+% on (\d+) images", said)]
    assert 0 < tested[0] < tested[1] < 36
    run("multi-task", words=[folder / "0" / "002.png"], EPOCHS=8, **{**pretrained, "LEARNING_RATE": 3e-3})
    assert re.search(r"digit \d \([\d.]+%\)\n.*form \w+ \([\d.]+%\)", capsys.readouterr().out)


def test_self_supervised_pretraining_gives_weights_for_the_others(
    run, network, settings, folder, digits_of_three, capsys
):
    constants = {**settings, "DATA": repr(str(folder))}
    out = run("self-supervised", EPOCHS=10, BATCH_SIZE=60, FLIP=None, **constants)
    losses = [float(each) for each in re.findall(r" loss: ([\d.]+)", capsys.readouterr().out)]
    assert losses[-1] < math.log(2 * 60 - 1) - 0.5
    backbone, random = network(weights=out / "backbone.weights.h5"), network()
    assert min(moves(random, backbone).values()) > 0
    run("frozen-features", EPOCHS=1, WEIGHTS="'backbone.weights.h5'", **constants)
    images, labels = digits_of_three
    neighbours = KNeighborsClassifier(1)
    features = backbone.predict(images / 127.5 - 1, verbose=0)
    assert neighbours.fit(features[::2], labels[::2]).score(features[1::2], labels[1::2]) > 0.8


def test_logme_ranks_trained_above_random_weights(
    run, network, settings, folder, weights, digits_of_three, capsys
):
    tiny = f"{settings['BACKBONE']}, {settings['PREPROCESS']}"
    candidates = f"{{'random': ({tiny}, None), 'trained': ({tiny}, {str(weights)!r})}}"
    run("logme", DATA=repr(str(folder)), IMAGE_SIZE=32, CANDIDATES=candidates)
    ranking = re.findall(r"^ +(-?[\d.]+)  (\w+)$", capsys.readouterr().out, flags=re.M)
    assert [name for _, name in ranking] == ["trained", "random"]
    images, labels = digits_of_three
    features = network(weights=weights).predict(images / 127.5 - 1, verbose=0)
    assert float(ranking[0][0]) == pytest.approx(model_selection.logme(features, labels), abs=2e-3)


def test_audit_finds_a_flipped_label_and_a_copy(run, pretrained, folder, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(folder, data)
    (data / "1" / "120.png").rename(data / "0" / "120.png")
    shutil.copy(data / "7" / "200.png", data / "7" / "copy.png")
    run("audit", SIMILARITY=0.999999, **{**pretrained, "DATA": repr(str(data))})
    said = capsys.readouterr().out
    assert re.search(
        r"suspect labels among 241 images.*\n  0/120\.png: perhaps 1 \(\d+%, its label \d+%\)\n", said
    )
    assert re.search(r"agrees with 9\d% of the labels", said)
    assert "1 pairs of near-duplicates, the most similar first\n  1.000  7/200.png  7/copy.png\n" in said


def test_temperature_takes_a_model_of_another_recipe(run, pretrained, folder, capsys):
    run("frozen-features", EPOCHS=5, **pretrained)
    accuracy = re.search(r"test accuracy ([\d.]+)% on 36 images", capsys.readouterr().out)[1]
    out = run("temperature", DATA=pretrained["DATA"])
    said = capsys.readouterr().out
    fitted = json.loads((out / "temperature.json").read_text("utf-8"))["temperature"]
    assert f"T = {fitted:.3f}, fitted on 36 validation images" in said
    assert re.search(
        r"before: calibration error .*\nafter: calibration error .*\nboth on 36 test images", said
    )
    assert f"test accuracy {accuracy}%, which T does not change" in said


def test_a_learning_curve_rises_with_the_labels(run, pretrained, capsys):
    out = run("learning-curve", COUNTS=(1, 4, 16, 40, 200), SEEDS=5, **pretrained)
    said = capsys.readouterr().out
    rows = re.findall(r"^ +(\d+) +([\d.]+)%  ± [\d.]+%$", said, flags=re.M)
    assert [int(count) for count, _ in rows] == [1, 4, 16, 40]
    assert float(rows[0][1]) < float(rows[-1][1])
    assert "test accuracy on 72 images" in said
    assert (out / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


@full
def test_logme_scores_a_saved_network_as_its_weights(run, settings, folder, weights, saved_network, capsys):
    tiny = f"({settings['BACKBONE']}, {settings['PREPROCESS']}, {str(weights)!r})"
    candidates = f"{{'trained': {tiny}, 'saved': (None, None, {str(saved_network)!r})}}"
    run("logme", DATA=repr(str(folder)), IMAGE_SIZE=32, CANDIDATES=candidates)
    scores = re.findall(r"^ +(-?[\d.]+)  \w+$", capsys.readouterr().out, flags=re.M)
    assert float(scores[0]) == pytest.approx(float(scores[1]), abs=2e-3)


@full
def test_a_script_runs_by_itself_with_a_network_of_keras(edited, folder, tmp_path):
    constants = {
        "DATA": repr(str(folder)),
        "BACKBONE": "keras.applications.MobileNetV3Small",
        "PREPROCESS": "keras.applications.mobilenet_v3.preprocess_input",
        "WEIGHTS": None,
        "IMAGE_SIZE": 32,
        "EPOCHS": 1,
    }
    (tmp_path / "project.py").write_text(edited("frozen-features", constants), "utf-8")
    command = [sys.executable, "project.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "model.keras: test accuracy" in done.stdout
    model = keras.models.load_model(tmp_path / "model.keras")
    assert model.predict(np.full((2, 32, 32, 3), 255, "uint8"), verbose=0).shape == (2, 3)


@full
def test_many_workers_train_one_model_that_the_first_keeps(edited, network, settings, folder, tmp_path):
    ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    machines = [f"127.0.0.1:{port.getsockname()[1]}" for port in ports]
    for port in ports:
        port.close()
    constants = {**settings, "DATA": repr(str(folder)), "WEIGHTS": None, "MACHINES": machines}
    rates = {"EPOCHS, LEARNING_RATE": "4, 1e-2"}
    tiny = f"import keras\n\nSIZE = 32\n{inspect.getsource(network)}\nkeras.applications.Tiny = tiny\n"
    (tmp_path / "project.py").write_text(tiny + edited("many-workers", constants | rates))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    commands = [[sys.executable, "project.py", str(i)] for i in range(2)]
    workers = [subprocess.Popen(command, cwd=tmp_path, **pipes) for command in commands]
    try:
        first, second = (worker.communicate(timeout=240)[0] for worker in workers)
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], first + second
    said = re.search(r"model.keras: test accuracy ([\d.]+)% on 36 images\nclasses 0, 1, 7", first)
    assert float(said[1]) > 80
    assert "test accuracy" not in second
    assert [path.name for path in tmp_path.glob("*.json")] == ["model.classes.json"]
    assert [path.name for path in tmp_path.glob("*.keras")] == ["model.keras"]
    assert keras.models.load_model(tmp_path / "model.keras").input_shape == (None, 32, 32, 3)
