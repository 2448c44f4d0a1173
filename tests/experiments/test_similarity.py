"""Data sets compared: what is sampled, what is measured, what is refused, and the command."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import tlkit
from tlkit.challenges.task_similarity import distances
from tlkit.cli import cli
from tlkit.errors import DataError, TlkitError, TlkitWarning, UnknownNameError
from tlkit.experiments.similarity import Sample, sample, similarity, transfer_measures

SMALL = {"backbone": "LeNet", "weights": None, "image_size": 28}
OPTIONS = ["--backbone", "LeNet", "--image-size", "28", "--images", "40"]


def command(*words):
    """Run a command in this process."""
    return CliRunner().invoke(cli, list(map(str, words)))


def refused(*words):
    result = command(*words)
    assert isinstance(result.exception, TlkitError), result
    return str(result.exception)


@pytest.fixture(scope="module")
def folders(digits, tmp_path_factory):
    """Digits in a folder sorted by class, and their negatives in one that is not."""
    root = tmp_path_factory.mktemp("data")
    for i, (image, label) in enumerate(zip(digits.train.images[:60], digits.train.labels, strict=False)):
        for path, pixels in (
            (root / "my <digits>" / str(label) / f"{i}.png", image),
            (root / "negatives" / f"{i}.png", 255 - image),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return root / "my <digits>", root / "negatives"


def test_far_data_sets_are_farther_than_their_halves_and_the_same_seed_gives_the_same():
    names = ["digits/optical", "emoji/line"]
    found = similarity(names, measures=["mmd", "auc"], images=50, seed=3, **SMALL)
    assert list(found.samples) == names
    assert {each.images.shape for each in found.samples.values()} == {(50, 28, 28, 3)}
    assert list(found.tables) == ["mmd", "auc"]
    assert found.tables["auc"].attrs["examples"] == 25
    far, halves = found.tables["mmd"].loc[names[0], names[1]], np.diag(found.tables["mmd"])
    assert far > 5 * abs(halves).max()
    again = similarity(names, measures=["mmd"], images=50, seed=3, **SMALL)
    assert again.tables["mmd"].equals(found.tables["mmd"]), "random weights come from the seed"


def test_the_features_are_those_of_the_network_that_was_named():
    names = ["emoji/twemoji", "emoji/line"]
    found = similarity(names, images=24, seed=1, **SMALL)
    keras.utils.set_random_seed(1)
    network = tlkit.load_backbone("LeNet", weights=None)
    features = {name: tlkit.extract(network, found.samples[name].images, keep=False) for name in names}
    expected = distances(features, "mmd", seed=1)
    np.testing.assert_allclose(found.tables["mmd"], expected, atol=1e-4)


def test_a_sample_is_drawn_at_random_and_keeps_images_and_labels_together():
    whole = tlkit.load("digits/optical", image_size=28)
    one, other = (sample("digits/optical", 100, image_size=28, seed=seed) for seed in (0, 1))
    assert not np.array_equal(one.images, other.images)
    assert one.of == len(whole.train)
    label_of = {
        image.tobytes(): whole.class_names[label]
        for image, label in zip(whole.train.images, whole.train.labels, strict=True)
    }
    assert [label_of[image.tobytes()] for image in one.images] == one.labels.tolist()
    assert len(sample("digits/optical", 10**6, image_size=28).images) == len(whole.train)


def test_a_folder_is_read_with_its_classes_and_one_without_them_as_well(folders):
    by_class, flat = (sample(str(folder), 30, image_size=28, seed=2) for folder in folders)
    assert (by_class.of, flat.of) == (60, 60)
    assert by_class.images.shape == flat.images.shape == (30, 28, 28, 3)
    assert flat.labels is None
    for image, label in zip(by_class.images, by_class.labels, strict=True):
        files = (folders[0] / label).iterdir()
        assert any(np.array_equal(image, np.asarray(Image.open(file))) for file in files)


def test_an_unreadable_file_is_left_out_with_its_label(folders, tmp_path):
    for label in ("a", "b"):
        for i in range(10):
            path = tmp_path / label / f"{i}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (8, 8), (200 * (label == "a"), i, 0)).save(path)
    (tmp_path / "a" / "broken.png").write_bytes(b"no image")
    with pytest.warns(TlkitWarning, match=r"broken\.png"):
        found = sample(str(tmp_path), 100, image_size=8)
    assert len(found.images) == len(found.labels) == 20
    np.testing.assert_array_equal(found.images[:, 0, 0, 0] > 100, found.labels == "a")


def made(labels, class_names=("cat", "dog")):
    return Sample(np.zeros((len(labels), 8, 8, 3), "uint8"), np.array(labels), list(class_names), len(labels))


def test_labels_transfer_where_the_classes_lie_in_the_same_places():
    rng = np.random.default_rng(0)
    labels = ["cat", "dog"] * 20
    places = np.eye(2)[[0, 1] * 20] + rng.normal(0, 0.05, (40, 2))
    samples = {name: made(labels) for name in ("home", "same", "swapped")}
    samples |= {"others": made(["owl", "bee"] * 20, ["owl", "bee"])}
    features = {"home": places, "same": places[::-1], "swapped": places[:, ::-1], "others": places}
    samples["same"] = made(labels[::-1])
    table = transfer_measures(features, samples)["accuracy"]
    assert table.loc["home", ["home", "same", "swapped"]].tolist() == [1, 1, 0]
    assert table.loc["swapped", "home"] == 0
    assert table["others"].isna().all()
    assert table.loc["others"].isna().all()


def test_labels_that_are_missing_or_of_other_classes_do_not_transfer():
    unlabelled = Sample(np.zeros((4, 8, 8, 3), "uint8"), None, [], 4)
    features = {"one": np.eye(4), "other": np.eye(4)}
    assert not transfer_measures(features, {"one": made(["cat", "dog"] * 2), "other": unlabelled})
    others = made(["owl", "bee"] * 2, ["owl", "bee"])
    assert not transfer_measures(features, {"one": made(["cat", "dog"] * 2), "other": others})
    lonely = {"one": made(["cat", "cat", "cat", "dog"]), "other": made(["cat", "dog"] * 2)}
    table = transfer_measures(features, lonely)["accuracy"]
    assert np.isnan(table.loc["one", "one"])
    assert np.isfinite(table.loc["one", "other"])


def test_a_data_set_that_was_given_twice_is_refused_however_it_was_written(folders):
    with pytest.raises(DataError, match=r"more than once: emoji, emoji/twemoji\."):
        similarity(["emoji", "emoji/twemoji", "emoji/line"], **SMALL)
    with pytest.raises(DataError, match="more than once"):
        similarity([str(folders[0]), f"{folders[0]}/../{folders[0].name}"], **SMALL)


def test_what_cannot_be_compared_is_refused(folders, tmp_path):
    with pytest.raises(DataError, match="1 data set given: expected at least two"):
        similarity(["emoji"], **SMALL)
    with pytest.raises(UnknownNameError, match="Did you mean 'digits/mnist'"):
        similarity(["digits/mnst", "emoji"], **SMALL)
    with pytest.raises(UnknownNameError, match="Did you mean 'frechet'"):
        similarity(["digits/optical", "emoji"], measures=["freche"], **SMALL)
    with pytest.raises(TlkitError, match="No measure"):
        similarity(["digits/optical", "emoji"], measures=[], **SMALL)
    with pytest.raises(TlkitError, match="images=9 was given; expected at least 10"):
        similarity(["digits/optical", "emoji"], images=9, **SMALL)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images below"):
        similarity([str(tmp_path / "empty"), "emoji"], **SMALL)
    Image.new("RGB", (8, 8)).save(tmp_path / "empty" / "1.png")
    with pytest.raises(DataError, match="empty has 1 images; expected at least 10"):
        similarity([str(tmp_path / "empty"), "emoji"], **SMALL)


def test_folders_are_called_by_their_names_and_by_their_paths_where_these_are_the_same(folders, tmp_path):
    for part in ("one", "two"):
        (tmp_path / part / "photos").mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (28, 28), (i, i, 99)).save(tmp_path / part / "photos" / f"{i}.png")
    same = [str(tmp_path / part / "photos") for part in ("one", "two")]
    assert list(similarity([*same, str(folders[1])], **SMALL).samples) == [*same, "negatives"]


# the command


def test_the_command_prints_the_table_and_writes_every_measure(folders, tmp_path):
    words = ["similarity", "digits/optical", *folders, *OPTIONS]
    done = command(*words, "--out", tmp_path / "out", "--measure", "AUC")
    assert done.exit_code == 0, done
    assert "negatives" in done.stdout
    numbers = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert numbers["measure"] == "auc"
    assert numbers["weights"] is None
    assert list(numbers["distances"]) == ["auc", "a-distance", "mmd", "frechet"]
    mmd = numbers["distances"]["mmd"]
    assert mmd["negatives"]["digits/optical"] > 5 * abs(mmd["my <digits>"]["digits/optical"])
    assert numbers["transfer"]["my <digits>"]["digits/optical"] > 0.2  # chance 0.1
    assert numbers["transfer"]["negatives"]["digits/optical"] is None
    page = (tmp_path / "out" / "report.html").read_text()
    assert "my <digits>" not in page
    assert "my &lt;digits&gt;" in page
    assert "--overwrite" in refused(*words, "--out", tmp_path / "out")


def test_without_a_folder_for_results_one_measure_is_printed_and_nothing_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command("similarity", "digits/optical", "emoji/line", *OPTIONS)
    assert done.exit_code == 0, done
    assert "digits/optical and emoji/line are farther apart than two halves" in done.stdout
    assert "random weights" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_command_explains_its_measures_and_refuses_what_does_not_fit(tmp_path):
    code = "import sys; from tlkit.cli import cli; cli(['similarity', '--list'], standalone_mode=False); "
    code += "print({'keras', 'tensorflow', 'pandas', 'sklearn', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
    assert len(done.stdout.splitlines()) == 5
    one = command("similarity", "emoji")
    assert one.exit_code == 2
    assert "Give at least two data sets" in one.output
    assert "Did you mean 'mmd'" in refused("similarity", "emoji", "digits/optical", "--measure", "mmdd")
    assert "smallest size is 32" in refused("similarity", "emoji", "digits/optical", "--image-size", 16)
    assert "given more than once" in refused("similarity", "emoji", "emoji", *OPTIONS)
