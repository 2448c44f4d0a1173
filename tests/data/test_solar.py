"""The photos of solar cells: views, tasks, seeded splits, and a package that is missing or damaged."""

import warnings
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from tlkit._internal import cache
from tlkit.data import is_here, load, packaged, solar
from tlkit.data.cards import read_card
from tlkit.errors import DataError, TlkitWarning
from tlkit.techniques.multi_task import tasks_for

VIEWS = ["solar", "solar/mono", "solar/poly", "solar/grades"]
PARTS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def views():
    """Every view at a small size; a warning would mean that a card is wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return {name: load(name, image_size=24) for name in VIEWS}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_agrees_with_its_card(views, name):
    data, card = views[name], read_card(name)
    assert {part: len(data.splits[part]) for part in PARTS} == card.counts
    assert data.class_names == card.classes
    assert data.train.images.shape[1:] == (24, 24, 3)
    assert "no commercial use" in card.licence
    assert is_here(name)


def test_a_cell_is_in_the_same_split_in_every_view(views):
    for part in PARTS:
        whole = set(views["solar"].splits[part].names)
        mono, poly = (set(views[f"solar/{kind}"].splits[part].names) for kind in solar.TYPES)
        assert mono.isdisjoint(poly)
        assert mono | poly == whole == set(views["solar/grades"].splits[part].names)


def test_a_cell_is_in_one_split_only(views):
    names = [name for split in views["solar"].splits.values() for name in split.names.tolist()]
    assert len(names) == len(set(names)) == 2624


def test_splits_have_the_same_proportions_of_types_and_grades(views):
    def strata(split):
        columns = (split.attributes["type"].tolist(), split.attributes["probability"].round(2).tolist())
        return Counter(zip(*columns, strict=True))

    counts = {part: strata(split) for part, split in views["solar"].splits.items()}
    total = sum(counts.values(), Counter())
    assert len(total) == 8
    for stratum, n in total.items():
        assert abs(counts["test"][stratum] - n / 4) <= 1
        assert abs(counts["validation"][stratum] - 0.15 * n) <= 1


def test_a_cell_is_defective_from_a_probability_of_one_half(views):
    for split in views["solar"].splits.values():
        probability = split.attributes["probability"]
        np.testing.assert_array_equal(split.labels, probability >= 0.5)
        np.testing.assert_array_equal(split.attributes["defect"] == "defective", probability >= 0.5)
    grades = views["solar/grades"].test
    np.testing.assert_allclose(grades.labels / 3, grades.attributes["probability"])


def test_the_seed_chooses_the_split_and_not_its_size(views):
    other, first = load("solar", image_size=24, seed=1), views["solar"]
    assert [len(split) for split in other.splits.values()] == [len(split) for split in first.splits.values()]
    common = set(other.test.names) & set(first.test.names)
    assert 0.15 < len(common) / len(first.test) < 0.35
    assert load("solar", image_size=24, seed=1).test.fingerprint() == other.test.fingerprint()


def test_the_labels_make_three_tasks(views):
    kinds = {name: task.kind for name, task in tasks_for(views["solar"]).items()}
    assert kinds == {"defect": "classification", "type": "classification", "probability": "regression"}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the same form with 24 photos."""
    data = tmp_path / "elpv_dataset" / "data"
    (data / "images").mkdir(parents=True)
    (tmp_path / "elpv_dataset" / "__init__.py").write_text("raise ImportError('it is not imported')")
    grades = np.tile(["0.0", "0.3333333333333333", "0.6666666666666666", "1.0"], 6)
    lines = [f"images/cell{i:04}.png  {p}  {('mono', 'poly')[i // 12]}" for i, p in enumerate(grades)]
    (data / "labels.csv").write_text("\n".join(lines) + "\n")
    for i in range(24):
        Image.new("L", (30, 30), 10 * i).save(data / "images" / f"cell{i:04}.png")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    return data


@pytest.mark.filterwarnings("ignore:The content of")
def test_the_class_and_the_photo_of_a_cell_belong_together(package):
    for split in load("solar", image_size=8).splits.values():
        for name, image, label in zip(split.names, split.images, split.labels, strict=True):
            number = int(name.removeprefix("cell"))
            assert (image == 10 * number).all()
            assert label == (number % 4 >= 2)


def test_another_version_of_the_package_gives_a_warning(package):
    with pytest.warns(TlkitWarning, match="differs from its card.*elpv-dataset"):
        load("solar", image_size=8)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: (data / "labels.csv").unlink(), "has no file 'data/labels.csv'"),
        (lambda data: (data / "labels.csv").write_text(""), "its table labels.csv is empty"),
        (lambda data: (data / "labels.csv").write_text("images/cell0001.png 0.4 mono\n"), "has the line"),
        (lambda data: (data / "labels.csv").write_text("<html>"), "has the line '<html>'"),
        (lambda data: (data / "images" / "cell0007.png").unlink(), "photo images/cell0007.png is missing"),
        (
            lambda data: (data / "images" / "cell0007.png").write_bytes(b"x"),
            r"cannot be read: .*cell0007.png",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:The content of")
def test_a_damaged_package_is_named_and_nothing_is_kept(package, damage, says):
    damage(package)
    with pytest.raises(DataError, match=says) as caught:
        load("solar", image_size=8)
    assert "pip install --force-reinstall elpv-dataset" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(cache.root().glob("data/*"))


@pytest.mark.filterwarnings("ignore:The content of")
def test_a_package_that_was_repaired_is_read_again(package):
    photo = package / "images" / "cell0007.png"
    good = photo.read_bytes()
    photo.write_bytes(good[:20])
    with pytest.raises(DataError):
        load("solar", image_size=8)
    photo.write_bytes(good)
    assert len(load("solar", image_size=8).train) == 8


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    monkeypatch.setattr(solar, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"'elpv-dataset', which is not installed.*pip install"):
        load("solar")
    assert not is_here("solar")
