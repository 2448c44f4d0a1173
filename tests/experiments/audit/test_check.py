"""By the features of a backbone, an audit finds wrong labels, outliers, near duplicates and weak groups."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tlkit.backbones import load_backbone
from tlkit.data import Dataset, Split, load
from tlkit.errors import TlkitError
from tlkit.experiments.audit import audit
from tlkit.experiments.audit.check import check
from tlkit.experiments.audit.cross_validation import cross_validate
from tlkit.experiments.audit.features import Resized, features_of, network_for
from tlkit.experiments.audit.label_errors import label_errors
from tlkit.experiments.audit.neighbours import Distances, outliers
from tlkit.experiments.audit.pairs import pairs
from tlkit.experiments.audit.weak_groups import weak_groups

CLASSES = ["cat", "dog", "owl"]


def clusters(count=40, classes=3, d=32, seed=0):
    """Features of `count` images of each class, close to the mean of their class; and the classes."""
    labels = np.repeat(np.arange(classes), count)
    noise = np.random.default_rng(seed).normal(0, 0.04, (len(labels), d))
    return (np.eye(d)[labels] + noise).astype("float32"), labels


def inventory(labels):
    """A table as of an inventory, of images that differ in every respect."""
    rng = np.random.default_rng(0)
    n = len(labels)
    return pd.DataFrame(
        {
            "name": [f"{CLASSES[label]}/{row}.png" for row, label in enumerate(labels)],
            "class": [CLASSES[label] for label in labels],
            "split": np.where(np.arange(n) % 4, "train", "test"),
            "digest": [str(row) for row in range(n)],
            "hash": rng.integers(0, 2**63, n, "uint64"),
            "colours": list(rng.integers(0, 256, (n, 192), "uint8")),
        }
    )


def checked(features, labels):
    images = inventory(labels)
    return check(features, images, pairs(images), CLASSES)


def test_flipped_labels_are_suspects_and_the_suggestion_is_the_true_class():
    features, labels = clusters()
    given, wrong = labels.copy(), np.arange(3, 120, 10)
    given[wrong] = (labels[wrong] + 1) % 3
    found = checked(features, given).label_errors
    assert set(found["row"]) <= set(wrong)
    assert len(found) >= len(wrong) / 2
    assert found["score"].is_monotonic_increasing
    for each in found.itertuples():
        assert each.suggested == CLASSES[labels[each.row]]
        assert each.label == CLASSES[given[each.row]]
        assert each.score < 0.5 < each.probability


def test_right_labels_are_no_suspects():
    assert checked(*clusters()).label_errors.empty


def test_features_that_say_nothing_list_no_label_and_the_reason_is_said():
    features, labels = clusters()
    found = checked(features, np.random.default_rng(1).permutation(labels))
    assert found.label_errors.empty
    assert found.weak_groups == []
    assert not found.informative
    [caution] = found.cautions
    assert "do not predict the labels better than chance" in caution
    assert "95 % interval" in caution


def test_a_copy_does_not_vouch_for_a_wrong_label():
    once = np.random.default_rng(0).normal(size=(60, 32))  # nothing but the copy tells the class
    labels = np.random.default_rng(1).integers(0, 2, 60)
    features, both = np.concatenate([once, once]), np.concatenate([labels, labels])
    apart = cross_validate(features, both, np.arange(120))
    together = cross_validate(features, both, np.tile(np.arange(60), 2))
    assert apart.informative
    assert not together.informative
    assert together.accuracy < 0.6 < apart.accuracy


def test_images_are_predicted_by_models_that_did_not_learn_from_them():
    features, labels = clusters(10)
    features[:, -1] = 0
    features[0, -1], labels[0] = 100, 1  # only image 0 shows this, so only its own label could teach it
    assert cross_validate(features, labels, np.arange(30)).predicted[0] != 1


def test_a_class_with_too_few_images_is_left_out_and_named():
    features, labels = clusters()
    few = np.concatenate([np.arange(80), [80, 81, 82, 83]])
    found = checked(features[few], labels[few])
    assert found.predictions.rows.tolist() == list(range(80))
    assert found.unchecked == ["owl"]
    assert found.cautions == [
        "Labels of these classes are not checked: owl. Not counting copies, they have fewer than 5 images."
    ]
    assert found.predicted[80:].tolist() == [""] * 4


def test_without_two_classes_of_enough_images_labels_cannot_be_checked():
    found = checked(*clusters(4))
    assert found.predictions is None
    assert found.metrics()["accuracy"] is None
    assert "cannot be found" in found.cautions[0]
    assert label_errors(None).empty


def test_an_image_far_from_all_others_is_an_outlier():
    features, _ = clusters()
    features[7] = -features[7] + np.eye(32)[20]
    found = outliers(features)
    assert found["row"].tolist() == [7]
    assert found["distance"][0] > 2
    assert outliers(features[:1]).empty


def test_nearly_equal_features_are_near_duplicates_however_many_there_are():
    features, labels = clusters()
    for copy in (90, 91, 92):
        features[copy] = features[5] * 1.7 + 1e-4 * copy  # longer, and the same direction
    assert Distances(features).near_duplicates().tolist() == [
        [one, other] for one in (5, 90, 91) for other in (90, 91, 92) if one < other
    ]
    found = checked(features, labels).near_duplicates
    assert len(found) == 6
    assert found["two_classes"].sum() == 3
    assert found["distance"].max() < 0.2


def test_pairs_that_the_hashes_know_are_not_listed_twice():
    features, labels = clusters()
    features[11] = features[10]
    images = inventory(labels)
    for column in ("hash", "colours", "digest"):
        images.at[11, column] = images.at[10, column]
    known = pairs(images)
    assert len(known) == 1
    assert check(features, images, known, CLASSES).near_duplicates.empty


def test_a_group_in_which_predictions_fail_is_weak_and_its_images_are_named():
    features, _ = clusters(60, classes=5)
    right = np.ones(300, bool)
    right[120:180:2] = False  # half of the third cluster
    [group] = weak_groups(features, right)
    assert sorted(group.members) == list(range(120, 180))
    assert group.accuracy == 0.5
    assert group.low < 0.5 < group.high < right.mean()


def test_mistakes_at_random_make_no_group_weak():
    features, _ = clusters(60, classes=5)
    named = [weak_groups(features, np.random.default_rng(seed).random(300) < 0.8) for seed in range(20)]
    assert sum(map(bool, named)) <= 2


def test_images_of_another_size_are_resized_on_access():
    images = np.full((5, 28, 28, 3), np.arange(0, 250, 50, "uint8")[:, None, None, None])
    larger = Resized(images, 56)
    assert (len(larger), larger.shape) == (5, (5, 56, 56, 3))
    assert larger[1:3].shape == (2, 56, 56, 3)
    assert [int(larger[row].mean()) for row in range(5)] == [0, 50, 100, 150, 200]


def test_features_are_in_the_order_of_the_images_whatever_their_splits(lenet_backbone):
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28, 3), "uint8")
    one = features_of(lenet_backbone, images, np.full(6, "train"))
    mixed = features_of(lenet_backbone, images, np.array(["test", "train", "train", "test", "none", "train"]))
    np.testing.assert_allclose(mixed, one, rtol=1e-3, atol=1e-4)


def test_a_model_that_takes_images_of_any_size_is_refused():
    import keras

    pixels = keras.Input((None, None, 3))
    model = keras.Model(pixels, keras.layers.Conv2D(2, 3)(pixels))
    with pytest.raises(TlkitError, match="square images of one size"):
        network_for(model, weights=None, image_size=None, seed=0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_features_that_are_no_numbers_are_refused():
    import keras

    pixels = keras.Input((8, 8, 3))
    model = keras.Model(pixels, keras.ops.mean(pixels, axis=(1, 2)) / 0)
    with pytest.raises(TlkitError, match="not a number"):
        features_of(model, np.zeros((2, 8, 8, 3), "uint8"), np.full(2, "train"))


def test_a_single_readable_image_is_audited_without_features(tmp_path, lenet_backbone):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "cat" / "0.png")
    (tmp_path / "dog" / "0.png").write_bytes(b"no image")
    assert audit(tmp_path, backbone=lenet_backbone).check is None


@pytest.fixture(scope="module")
def lenet_backbone():
    import keras

    keras.utils.set_random_seed(0)
    return load_backbone("LeNet", weights=None)


@pytest.fixture(scope="module")
def bright_and_dark(lenet_backbone):
    """The audit of 120 images, bright or dark; two labels are wrong, and a bright image is there mirrored."""
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    spots = rng.integers(0, 60, (120, 4, 4, 3)).repeat(7, axis=1).repeat(7, axis=2)
    images = (spots + 150 * labels[:, None, None, None]).astype("uint8")
    images[119] = images[1][:, ::-1]
    given = labels.copy()
    given[[10, 21]] = 1 - given[[10, 21]]
    train, test = Split(images[:90], given[:90]), Split(images[90:], given[90:])
    data = Dataset(train, None, test, ["dark", "bright"], load("digits/optical").card)
    return audit(data, backbone=lenet_backbone)


def test_an_audit_with_a_backbone_lists_likely_label_errors_as_a_warning(bright_and_dark):
    problems = {each.name: each for each in bright_and_dark.problems}
    assert problems["likely label errors"].level == "warning"
    assert problems["likely label errors"].count == 2
    assert set(problems["likely label errors"].examples) == {
        "10: bright, suggested dark",
        "21: dark, suggested bright",
    }
    assert bright_and_dark.answer.endswith("things to check. 2 of 120 labels may be wrong.")
    assert bright_and_dark.errors == []


def test_suspects_are_never_removable_without_a_look(bright_and_dark):
    suspects = bright_and_dark.suspects
    assert {"10", "21"} <= set(suspects["file"][suspects["kind"] == "label"])
    assert not {"10", "21"} & set(bright_and_dark.removable())


def test_suspects_are_sorted_by_kind_and_within_it_the_worst_first(bright_and_dark):
    suspects = bright_and_dark.suspects
    expected = ["file", "split", "kind", "label", "suggested", "score", "partner", "group"]
    assert suspects.columns.tolist() == expected
    kinds = list(dict.fromkeys(suspects["kind"]))
    assert kinds == [each for each in ("label", "near duplicate", "outlier", "weak group") if each in kinds]
    for _, own in suspects.groupby("kind"):
        assert own["score"].is_monotonic_increasing
    assert suspects["score"].between(0, 1).all()


def test_an_audit_without_a_backbone_has_only_near_duplicates_among_its_suspects(folder):
    Image.open(folder / "cat/3.png").save(folder / "dog/again.bmp")
    [suspect] = audit(folder, backbone=None).suspects.to_dict("records")
    assert (suspect["file"], suspect["partner"]) == ("cat/3.png", "dog/again.bmp")
    assert (suspect["kind"], suspect["score"], suspect["suggested"]) == ("near duplicate", 0, "")
