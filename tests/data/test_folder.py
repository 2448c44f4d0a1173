"""Folders of images: the usual layouts, any file name, and errors that name the next step."""

import shutil
import warnings

import numpy as np
import pytest
from PIL import Image

import tlkit.data.folder
from tlkit.data import ImageFiles, load
from tlkit.errors import DataError, TlkitWarning

pytestmark = pytest.mark.filterwarnings("error::tlkit.errors.TlkitWarning")


def counts(dataset):
    return {name: len(split) for name, split in dataset.splits.items()}


def test_class_folders_are_split_within_each_class(animals):
    dataset = load(animals, image_size=8)
    assert dataset.class_names == ["cat", "dog"]
    assert counts(dataset) == dataset.card.counts == {"train": 12, "validation": 4, "test": 4}
    for split in dataset.splits.values():
        assert (split.labels == 0).sum() == (split.labels == 1).sum()
        assert [dataset.class_names[i] for i in split.labels] == [name.split("/")[0] for name in split.names]


def test_the_split_depends_on_the_seed(animals):
    names = [set(load(animals, image_size=8, seed=seed).test.names) for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]


def test_a_fraction_of_0_gives_no_split(animals):
    assert counts(load(animals, image_size=8, validation=0)) == {"train": 16, "test": 4}
    assert counts(load(animals, image_size=8, validation=0, test=0)) == {"train": 20}


def test_fractions_that_leave_no_training_data_are_refused(animals):
    with pytest.raises(DataError, match=r"validation=0.5 and test=0.5 leave no training data"):
        load(animals, image_size=8, validation=0.5, test=0.5)


@pytest.mark.parametrize(
    ("folders", "expected"),
    [
        (["train", "validation", "test"], {"train": 6, "validation": 6, "test": 6}),
        (["Train", "VAL"], {"train": 6, "validation": 6}),
        (["train", "valid"], {"train": 6, "validation": 6}),
        (["train", "test"], {"train": 4, "validation": 2, "test": 6}),
        (["train"], {"train": 4, "validation": 2}),
    ],
)
def test_folders_named_after_splits_are_these_splits(write_image, tmp_path, folders, expected):
    for folder in folders:
        for i in range(3):
            write_image(f"set/{folder}/cat/{i}.png")
            write_image(f"set/{folder}/dog/{i}.png")
    assert counts(load(tmp_path / "set", image_size=8)) == expected


def test_a_train_folder_without_folders_in_it_is_a_class(write_image, tmp_path):
    for i in range(3):
        write_image(f"set/train/{i}.png")
        write_image(f"set/bus/{i}.png")
    assert load(tmp_path / "set", image_size=8).class_names == ["bus", "train"]


def test_folders_next_to_train_are_left_out_with_a_warning(write_image, animals):
    shutil.copytree(animals, animals / "train")
    with pytest.warns(TlkitWarning, match="Left out: cat, dog"):
        load(animals, image_size=8)


@pytest.fixture
def many(write_image, tmp_path):
    """Write five images for each name of a folder, and return the folder of them all."""

    def write(*folders):
        for folder in folders:
            for i in range(5):
                write_image(f"set/{folder}/{i}.png", size=(8, 8))
        return tmp_path / "set"

    return write


def both(pattern, *values):
    """Put each value and each of the classes cat and dog into a pattern."""
    return [pattern.format(each, kind) for each in values or ("",) for kind in ("cat", "dog")]


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("Training", "Validation", "Testing"),
        ("training_set", "validation_set", "test_set"),
        ("trainset", "valset", "testset"),
        ("train-images", "dev-images", "test-images"),
        ("Training Data", "Valid Data", "Test Data"),
        ("images_train", "images_val", "images_test"),
        ("seg_train", "seg_valid", "seg_test"),
    ],
)
def test_splits_have_many_names(many, train, validation, test):
    dataset = load(many(*both("{}/{}", train, validation, test)), image_size=8)
    assert dataset.class_names == ["cat", "dog"]
    assert counts(dataset) == {"train": 10, "validation": 10, "test": 10}
    assert all(name.startswith(test) for name in dataset.test.names)


def test_classes_may_have_names_that_contain_train(many):
    folder = many("steam_train", "steam_boat", "test tube", "train station")
    assert load(folder, image_size=8).class_names == [
        "steam_boat",
        "steam_train",
        "test tube",
        "train station",
    ]


@pytest.mark.parametrize("inside", ["", "/images"])
def test_train_is_a_class_if_it_is_built_like_the_others(many, inside):
    folder = many(f"train{inside}", f"bus{inside}", f"car{inside}")
    assert load(folder, image_size=8).class_names == ["bus", "car", "train"]


def test_folders_in_a_class_folder_belong_to_the_class(many):
    dataset = load(many("cat/images", "dog/images", "dog/more"), image_size=8, validation=0, test=0)
    assert dataset.class_names == ["cat", "dog"]
    assert np.bincount(dataset.train.labels).tolist() == [5, 10]
    assert {name.split("/")[0] for name in dataset.train.names[dataset.train.labels == 0]} == {"cat"}


@pytest.mark.parametrize("wrapper", ["images", "data/images", "archive/archive"])
def test_a_folder_that_only_contains_another_folder_is_skipped(many, wrapper):
    dataset = load(many(*both(wrapper + "/{1}")), image_size=8)
    assert dataset.class_names == ["cat", "dog"]
    assert dataset.train.names[0].startswith(f"{wrapper}/cat/")
    assert dataset.card.description == f"A folder of images; the classes are in {wrapper}."


def test_splits_may_be_wrapped_twice(many):
    folder = many(*both("archive/{0}/{0}/{1}", "training_set", "test_set"))
    dataset = load(folder, image_size=8, validation=0)
    assert dataset.class_names == ["cat", "dog"]
    assert counts(dataset) == {"train": 10, "test": 10}


def test_files_that_are_no_images_do_not_stop_the_search_for_the_classes(many, tmp_path):
    folder = many(*both("images/{1}"))
    for name in ("README.md", "annotations/cat/1.xml", "__MACOSX/images/cat/._1.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("no image")
    assert load(folder, image_size=8).class_names == ["cat", "dog"]


def test_a_skipped_folder_that_could_be_a_class_is_named(many):
    folder = many("cats/siamese", "cats/persian")
    with pytest.warns(
        TlkitWarning, match="in its folder cats, so the folders in cats are the classes: persian"
    ):
        assert load(folder, image_size=8).class_names == ["persian", "siamese"]
    (folder / "dogs").mkdir()  # a class that lacks its images
    with pytest.raises(DataError, match="'dogs' has 0"):
        load(folder, image_size=8)


def test_each_class_folder_may_contain_the_splits(many):
    folder = many("cat/train", "cat/val", "cat/test", "dog/Train", "dog/val", "dog/test")
    dataset = load(folder, image_size=8)
    assert dataset.class_names == ["cat", "dog"]
    assert counts(dataset) == {"train": 10, "validation": 10, "test": 10}
    for split in dataset.splits.values():
        assert [dataset.class_names[i] for i in split.labels] == [name[:3] for name in split.names]
    assert {name.split("/")[1] for name in dataset.train.names} == {"train", "Train"}
    assert {name.split("/")[1] for name in dataset.test.names} == {"test"}


@pytest.mark.parametrize("other", ["cow", "cow/train/../more", "cow/test"])
def test_splits_in_some_classes_only_are_refused(many, other):
    folder = many("cat/train", "cat/test", "dog/train", "dog/test", other)
    with pytest.raises(
        DataError, match=r"cat contains splits \(test, train\).*: cow. Put all images of each"
    ):
        load(folder, image_size=8)


@pytest.mark.parametrize("test", ["test", "test/test", "test/unknown", "test_images/images"])
def test_a_test_folder_without_classes_is_left_out_with_advice(many, test):
    folder = many("train/cat", "train/dog", test)
    with pytest.warns(TlkitWarning, match="no test split: they are left out. After training, `tlkit predict"):
        dataset = load(folder, image_size=8)
    assert counts(dataset) == {"train": 8, "validation": 2}


def test_a_class_that_is_called_unknown_is_a_class_in_the_test_folder_too(many):
    dataset = load(many("train/known", "train/unknown", "test/unknown"), image_size=8)
    assert counts(dataset) == {"train": 8, "validation": 2, "test": 5}


def test_class_folders_with_the_same_folders_in_them_are_doubted(many):
    with pytest.warns(TlkitWarning, match="part1, part2, are read as the classes, but each .* cat, dog. If"):
        dataset = load(many(*both("{}/{}", "part1", "part2")), image_size=8)
    assert dataset.class_names == ["part1", "part2"]


@pytest.mark.parametrize("place", ["images", "train"])
def test_a_table_next_to_unsorted_images_is_pointed_to(many, place):
    folder = many(place)
    for name in ("my labels.csv", "example.csv"):
        (folder / name).write_text("id,kind\n")
    with pytest.raises(DataError, match=r"run `tlkit train-tasks .*set --labels 'my labels.csv'`"):
        load(folder, image_size=8)


def test_any_file_name_is_read_and_other_files_are_ignored(write_image, tmp_path):
    names = ["class2/deep/er/a b.PNG", "class2/Übung.JPG", "class2/猫.webp", "class10/1.gif"]
    names += ["class10/2.bmp", "class10/3.tiff"]
    for name in [*names, "class2/.hidden.png", "class2/.cache/a.png", ".git/a.png"]:
        write_image(f"set/{name}")
    (tmp_path / "set" / "class2" / "notes.txt").write_text("hello")
    dataset = load(str(tmp_path / "set"), image_size=8, validation=0, test=0)
    assert dataset.class_names == ["class2", "class10"]
    assert sorted(dataset.train.names) == sorted(names)


def test_the_home_folder_is_found(animals, monkeypatch):
    monkeypatch.setenv("HOME", str(animals.parent))
    monkeypatch.setenv("USERPROFILE", str(animals.parent))
    assert len(load("~/animals", image_size=8).train) == 12


def test_images_in_files_and_in_memory_have_the_same_pixels(animals):
    lazy, in_memory = (load(animals, image_size=8, in_memory=value) for value in (False, True))
    assert isinstance(lazy.train.images, ImageFiles)
    assert isinstance(in_memory.train.images, np.ndarray)
    for name, split in in_memory.splits.items():
        np.testing.assert_array_equal(lazy.splits[name].images[:], split.images)
        np.testing.assert_array_equal(lazy.splits[name].labels, split.labels)
        assert lazy.splits[name].names.tolist() == split.names.tolist()
        assert lazy.splits[name].fingerprint() == split.fingerprint()
    images, labels = lazy.train.batches(5)[1]
    np.testing.assert_array_equal(images, in_memory.train.images[5:10])
    np.testing.assert_array_equal(labels, in_memory.train.labels[5:10])


def test_images_beyond_the_memory_limit_stay_in_their_files(animals, monkeypatch):
    monkeypatch.setattr(tlkit.data.folder, "IN_MEMORY_BYTES", 20 * 8 * 8 * 3)
    assert isinstance(load(animals, image_size=8).train.images, np.ndarray)
    assert isinstance(load(animals, image_size=9).train.images, ImageFiles)


@pytest.mark.parametrize("in_memory", [True, False])
def test_an_unreadable_file_is_left_out_and_named(animals, in_memory):
    (animals / "cat" / "5.png").write_bytes(b"broken")
    with pytest.warns(TlkitWarning, match=r"1 of 20 image files .* could not be read: .*5\.png: "):
        dataset = load(animals, image_size=8, in_memory=in_memory)
    assert len(dataset.skipped) == 1
    assert "5.png: " in dataset.skipped[0]
    for split in dataset.splits.values():
        for image, name in zip(split.images, split.names, strict=True):
            np.testing.assert_array_equal(image, tlkit.data.folder.ImageFiles([animals / name], 8)[0])


def test_more_than_a_tenth_unreadable_is_an_error(animals):
    for i in range(3):
        (animals / "cat" / f"{i}.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"(?s)3 of 20 .*0\.png.*more than 10%: copy"):
        load(animals, image_size=8)


def test_an_image_in_two_splits_is_named_as_a_leak(write_image, tmp_path):
    for folder in ("train", "test"):
        for i in range(3):
            write_image(f"set/{folder}/cat/{i}.png")
            write_image(f"set/{folder}/dog/{i}.png")
    shutil.copy(tmp_path / "set/train/cat/1.png", tmp_path / "set/test/cat/copy.png")
    with pytest.warns(TlkitWarning, match=r"train/cat/1.png and test/cat/copy.png.*leak"):
        dataset = load(tmp_path / "set", image_size=8)
    assert ("train/cat/1.png", "test/cat/copy.png") in dataset.duplicates


def test_identical_images_in_one_split_are_not_a_leak(write_image, tmp_path, animals):
    shutil.copy(animals / "cat/1.png", animals / "cat/copy.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load(animals, image_size=8, validation=0, test=0).duplicates == []


def test_one_image_with_two_classes_is_named_with_both(animals):
    for i in range(4):
        shutil.copy(animals / f"cat/{i}.png", animals / f"dog/of cat {i}.png")
    with pytest.warns(TlkitWarning) as caught:
        load(animals, image_size=8, validation=0, test=0)
    [message] = [str(each.message) for each in caught]
    assert "different classes, 4 pairs: cat/0.png (cat) and dog/of cat 0.png (dog); cat/1.png" in message
    assert message.count(" and dog/") == 3
    assert f"Run `tlkit audit {animals}`" in message


def test_a_progress_bar_appears_only_on_request(animals, capsys):
    load(animals, image_size=8)
    assert capsys.readouterr().err == ""
    load(animals, image_size=8, progress=True)
    assert "reading images" in capsys.readouterr().err


def make_file(root, write_image):
    root.write_text("hello")


def make_flat(root, write_image):
    write_image("set/a.png")


def make_one_class(root, write_image):
    write_image("set/cat/a.png")


def make_few(root, write_image):
    for name in ("cat/1", "cat/2", "cat/3", "dog/1", "dog/2"):
        write_image(f"set/{name}.png")


def make_unknown_class(root, write_image):
    for name in ("train/cat", "train/dog", "test/cow"):
        write_image(f"set/{name}/1.png")


def make_flat_splits(root, write_image):
    for name in ("train", "test"):
        write_image(f"set/{name}/1.png")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root, write_image: None, "There is no folder at .*set. Check the spelling"),
        (make_file, "is a file; expected a folder"),
        (
            lambda root, write_image: root.mkdir(),
            "There are no images below .*set. Expected one sub-folder per class",
        ),
        (make_flat, "directly in .*Sort them into one sub-folder per class"),
        (make_flat_splits, "directly in .*train.*Sort them into one sub-folder per class"),
        (make_one_class, "only one class below .*'cat'.*add a sub-folder"),
        (
            make_few,
            "class 'dog' has 2, and each needs at least 3, one for each of train, validation, test. Add",
        ),
        (make_unknown_class, r"no class for test/cow.*the classes of train are cat, dog.*Rename"),
    ],
)
def test_the_error_of_an_unsuitable_folder_names_the_next_step(tmp_path, write_image, make, message):
    make(tmp_path / "set", write_image)
    with pytest.raises(DataError, match=message):
        load(tmp_path / "set", image_size=8)


def test_scanning_a_lazy_folder_does_not_keep_its_images_in_memory(tmp_path):
    import tracemalloc

    for i in range(60):
        path = tmp_path / "set" / ("cat", "dog")[i % 2] / f"{i}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (i, 0, 0)).save(path)
    decoded = 60 * 256 * 256 * 3
    tracemalloc.start()
    load(tmp_path / "set", image_size=256, in_memory=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < decoded / 3
