"""`tlkit adapt`: what it writes with and without target labels, and what it refuses."""

import pytest
from PIL import Image
from pushes import graph

from tlkit.data import load

LENET_BN = ("--backbone", "LeNetBN", "--image-size", 28)
LENET = ("--backbone", "LeNet", "--image-size", 28)


@pytest.fixture(scope="module")
def numerals(tmp_path_factory):
    """A folder of 12 MNIST digits of each class, sorted by class."""
    root, train = tmp_path_factory.mktemp("data") / "numerals", load("digits/mnist").train
    for label in range(10):
        (root / str(label)).mkdir(parents=True)
        for i, image in enumerate(train.images[train.labels == label][:12]):
            Image.fromarray(image).save(root / str(label) / f"{i}.png")
    return root


@graph
def test_it_writes_the_model_the_metrics_and_the_report(tmp_path, numerals, command, metrics):
    """The target is a folder without class sub-folders; labelled images of its kind evaluate the result."""
    digits = load("digits/optical").train
    for i, (image, label) in enumerate(zip(digits.images[:60], digits.labels[:60], strict=True)):
        labelled = tmp_path / "labelled" / ("train" if i < 30 else "test") / str(label)
        for path in (tmp_path / "target" / f"{i}.png", labelled / f"{i}.png"):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    options = ("--method", "dann", "--compare", "coral", *LENET_BN, "--epochs", 2)
    options += ("--evaluate", tmp_path / "labelled")
    done = command("adapt", numerals, tmp_path / "target", "--out", tmp_path / "run", *options)
    assert done.exit_code == 0, done
    assert f"target: {tmp_path / 'target'}, 60 images without labels" in done.stdout
    found = metrics(tmp_path / "run")
    assert found["method"] == "dann"
    assert list(found["accuracy"]) == ["source only", "adapted", "coral", "trained on target labels"]
    assert all(0 <= value <= 1 for value in found["accuracy"].values())
    assert f"adapted {found['accuracy']['adapted']:.1%}" in done.stdout
    assert set(found["a_distance"]) == {"before", "after"}
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    for said in ("What adaptation gained", "The methods compared", "the discriminator is at chance"):
        assert said in page
    assert command("predict", tmp_path / "run", tmp_path / "target" / "0.png").exit_code == 0


def test_without_target_labels_it_says_so(tmp_path, numerals, command, metrics):
    options = (*LENET_BN, "--epochs", 1, "--method", "adabn")
    done = command("adapt", numerals, numerals, "--out", tmp_path / "run", *options)
    assert done.exit_code == 0, done
    assert "on the target:" not in done.stdout
    found = metrics(tmp_path / "run")
    assert found["accuracy"] == {}
    assert found["interval"] is None
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "nothing here says how good the network is on the target" in page
    assert "images right" not in page  # those of the source would be no answer
    assert command("card", tmp_path / "run").exit_code == 0


def test_unknown_names_come_with_the_nearest_before_anything_is_done(tmp_path, shapes, refused):
    out = ("--out", tmp_path / "run")
    assert "Did you mean 'dann'" in refused("adapt", shapes, shapes, *out, "--method", "dan")
    assert "Did you mean 'dann'" in refused("adapt", shapes, shapes, *out, "--compare", "mcc,dan")
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore:.*could not be read")
def test_domains_and_networks_that_do_not_fit_are_refused(tmp_path, shapes, refused):
    out = ("--out", tmp_path / "run", *LENET, "--overwrite")
    message = refused("adapt", shapes, "digits/mnist", *out, "--evaluate", "digits/mnist")
    assert "only the source has circle, square" in message
    assert "no BatchNormalization" in refused("adapt", shapes, shapes, *out, "--method", "adabn")


@graph
def test_the_classifier_of_a_run_is_adapted_without_its_source(tmp_path, numerals, command, metrics, refused):
    options = ("--technique", "scratch", *LENET_BN, "--epochs", 1)
    assert command("train", numerals, "--out", tmp_path / "run", *options).exit_code == 0
    out = ("--out", tmp_path / "adapted", "--epochs", 1)
    done = command("adapt", tmp_path / "run", numerals, *out, "--evaluate", numerals)
    assert done.exit_code == 0, done
    assert "on the target: source only" in done.stdout
    found = metrics(tmp_path / "adapted")
    assert (found["method"], found["data"], found["classes"]) == ("shot", None, 10)
    assert (tmp_path / "adapted" / "model.keras").is_file()
    message = refused("adapt", tmp_path / "run", numerals, *out, "--overwrite", "--method", "dann")
    assert "needs a labelled source" in message
