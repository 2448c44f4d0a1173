"""`tlkit adapt`: what it writes with and without target labels, and what it refuses."""

import pytest
from PIL import Image
from pushes import full, graph

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
    options = ("--method", "dann", "--validator", "snd", *LENET_BN, "--epochs", 2)
    options += ("--evaluate", tmp_path / "labelled")
    done = command("adapt", numerals, tmp_path / "target", "--out", tmp_path / "run", *options)
    assert done.exit_code == 0, done
    assert f"target: {tmp_path / 'target'}, 60 images without labels" in done.stdout
    found = metrics(tmp_path / "run")
    assert found["method"] == "dann"
    assert found["validator"] == "snd"
    assert set(found["accuracy"]) == {"source_only", "last", "selected", "oracle", "ceiling"}
    assert all(0 <= value <= 1 for value in found["accuracy"].values())
    assert found["accuracy"]["oracle"] >= found["accuracy"]["last"]
    assert f"selected {found['accuracy']['selected']:.1%}" in done.stdout
    assert set(found["a_distance"]) == {"before", "after"}
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    for said in ("What adaptation gained", "which are missing in practice", "the discriminator is at chance"):
        assert said in page
    assert command("predict", tmp_path / "run", tmp_path / "target" / "0.png").exit_code == 0


def test_without_target_labels_it_says_so(tmp_path, numerals, command, metrics):
    options = (*LENET_BN, "--epochs", 1, "--method", "adabn")
    done = command("adapt", numerals, numerals, "--out", tmp_path / "run", *options)
    assert done.exit_code == 0, done
    assert "on the target:" not in done.stdout
    found = metrics(tmp_path / "run")
    assert found["validator"] is None
    assert set(found["accuracy"].values()) == {None}
    assert found["interval"] is None
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "nothing here says how good the network is on the target" in page
    assert "images right" not in page  # those of the source would be no answer
    assert command("card", tmp_path / "run").exit_code == 0


@full
@graph
def test_by_default_methods_vote(tmp_path, numerals, command, metrics):
    options = (*LENET_BN, "--epochs", 1, "--evaluate", numerals)
    done = command("adapt", numerals, numerals, "--out", tmp_path / "run", *options)
    assert done.exit_code == 0, done
    found = metrics(tmp_path / "run")
    assert found["method"] == "auto"
    control, *voters = [each["name"] for each in found["methods"]]
    assert control == "source only"
    assert found["choice"] in voters
    assert found["splits"]["train"] == 120  # all images of the folder
    assert "The best of these is" in (tmp_path / "run" / "report.html").read_text("utf-8")


def test_a_validator_without_a_single_method_is_refused(tmp_path, numerals, refused):
    options = (*LENET_BN, "--validator", "snd")
    message = refused("adapt", numerals, numerals, "--out", tmp_path / "run", *options)
    assert "chooses the epoch of a single method" in message


def test_unknown_names_come_with_the_nearest_before_anything_is_done(tmp_path, shapes, refused):
    out = ("--out", tmp_path / "run")
    assert "Did you mean 'dann'" in refused("adapt", shapes, shapes, *out, "--method", "dan")
    assert "Did you mean 'snd'" in refused("adapt", shapes, shapes, *out, "--validator", "snb")
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
    assert "on the target: source_only" in done.stdout
    found = metrics(tmp_path / "adapted")
    assert (found["method"], found["data"], found["classes"]) == ("shot", None, 10)
    assert (tmp_path / "adapted" / "model.keras").is_file()
    message = refused("adapt", tmp_path / "run", numerals, *out, "--overwrite", "--method", "dann")
    assert "needs a labelled source" in message


@full
@graph
def test_several_sources_need_the_option_target(tmp_path, numerals, command, metrics, refused):
    out = ("--out", tmp_path / "run", *LENET, "--epochs", 1, "--method", "coral")
    done = command("adapt", numerals, "digits/optical", "--target", numerals, *out)
    assert done.exit_code == 0, done
    names = [each["name"] for each in metrics(tmp_path / "run")["sources"]]
    assert names == [str(numerals), "digits/optical", "all sources together"]
    message = refused("adapt", numerals, numerals, numerals, *out, "--overwrite")
    assert "Got 3 names and no --target" in message
