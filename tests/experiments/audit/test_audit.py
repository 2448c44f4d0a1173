"""An audit finds the problems that were planted, says where, and finds none where there are none."""

import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageOps

from tlkit.data import Dataset, Split, load
from tlkit.errors import DataError
from tlkit.experiments import audit as experiment

audit = partial(experiment.audit, backbone=None)  # test_check.py tests what needs a network


def test_a_clean_folder_has_nothing_wrong_but_its_size(folder, found):
    seen = audit(folder)
    assert list(found(seen)) == ["few test images"]
    assert seen.errors == []
    assert seen.pairs.empty
    assert seen.removable() == []
    assert "pets: 50 images of 2 classes" in repr(seen)


def test_the_splits_are_those_that_load_draws(folder):
    seen = audit(folder, seed=3)
    drawn = load(folder, seed=3, image_size=32)
    for name, split in drawn.splits.items():
        assert set(seen.images["name"][seen.images["split"] == name]) == set(split.names)
    assert seen.drawn
    assert seen.classes.loc["cat"].to_dict() == {"images": 25, "train": 15, "validation": 5, "test": 5}


def test_one_image_under_two_labels_is_an_error_and_neither_stays(folder, found):
    shutil.copy(folder / "cat/3.png", folder / "dog/x.png")
    seen = audit(folder)
    problem = found(seen)["identical images with different labels"]
    assert (problem.level, problem.examples) == ("error", ["cat/3.png and dog/x.png"])
    assert seen.removable() == ["cat/3.png", "dog/x.png"]


def test_a_smaller_copy_that_was_saved_again_is_similar(folder, found):
    Image.open(folder / "cat/3.png").resize((70, 70)).save(folder / "cat/again.jpg", quality=80)
    seen = audit(folder)
    [pair] = seen.pairs.to_dict("records")
    assert {pair["one"], pair["other"]} == {"cat/3.png", "cat/again.jpg"}
    assert not pair["identical"]
    assert len(seen.removable()) == 1
    assert seen.removable(near=False) == []


def test_mirrored_and_recoloured_images_are_not_similar(folder):
    original = Image.open(folder / "cat/3.png")
    ImageOps.mirror(original).save(folder / "cat/mirrored.png")
    r, g, b = original.split()
    Image.merge("RGB", (b, r, g)).save(folder / "cat/recoloured.png")
    assert audit(folder).pairs.empty


def test_a_copy_in_the_test_split_is_a_leak_and_the_train_image_goes(folder, found):
    names = audit(folder).images.set_index("name")["split"]
    train, test = (names[names == split].index[0] for split in ("train", "test"))
    for split in ("train", "validation", "test"):
        for name in names[names == split].index:
            (folder / split / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).rename(folder / split / name)
    for name in ("cat", "dog"):
        (folder / name).rmdir()
    copy = folder / "test" / train.split("/")[0] / "copy.png"
    shutil.copy(folder / "train" / train, copy)
    seen = audit(folder)
    problem = found(seen)["identical images in two splits"]
    assert problem.level == "error"
    assert problem.why.startswith("A leak")
    assert seen.removable() == [f"train/{train}"]
    assert not seen.drawn
    assert test


def test_a_copy_stays_if_the_other_one_contradicts_a_label(folder):
    seen = audit(folder)
    a, b, c = (seen.images["name"] == name for name in ("cat/1.png", "cat/2.png", "dog/30.png"))
    seen.images.loc[a, "split"] = "test"  # the one of the two cats that would be kept
    seen.images.loc[b, "split"] = "train"
    i, j, k = (int(np.flatnonzero(each)[0]) for each in (a, b, c))
    cats = {"i": i, "j": j, "one": "cat/1.png", "other": "cat/2.png", "two_classes": False}
    contradiction = {"i": i, "j": k, "one": "cat/1.png", "other": "dog/30.png", "two_classes": True}
    seen.pairs = pd.DataFrame([cats, contradiction]).assign(identical=False)
    assert seen.removable() == ["cat/1.png", "dog/30.png"]


def test_of_many_similar_copies_one_stays_if_another_one_contradicts_a_label(folder):
    seen = audit(folder)
    names = ["cat/1.png", "cat/2.png", "cat/3.png", "dog/30.png"]
    a, b, c, d = (int(np.flatnonzero(seen.images["name"] == name)[0]) for name in names)
    rows = [(a, b, False), (a, c, False), (a, d, True)]
    table = pd.DataFrame(rows, columns=["i", "j", "two_classes"]).assign(identical=False)
    name = seen.images["name"].to_numpy()
    seen.pairs = table.assign(one=name[table["i"]], other=name[table["j"]])
    gone = seen.removable()
    assert {"cat/1.png", "dog/30.png"} < set(gone)
    assert len({"cat/2.png", "cat/3.png"} & set(gone)) == 1


def test_identical_images_under_two_labels_all_go(folder):
    shutil.copy(folder / "cat/3.png", folder / "cat/x.png")
    shutil.copy(folder / "cat/3.png", folder / "cat/y.png")
    shutil.copy(folder / "cat/3.png", folder / "dog/z.png")
    assert audit(folder).removable() == ["cat/3.png", "cat/x.png", "cat/y.png", "dog/z.png"]


def test_a_missing_validation_split_is_drawn(folder):
    for split, numbers in {"train": range(20), "test": range(20, 25)}.items():
        for name, first in {"cat": 0, "dog": 25}.items():
            (folder / split / name).mkdir(parents=True)
            for number in numbers:
                file = f"{first + number}.png"
                (folder / name / file).rename(folder / split / name / file)
    for name in ("cat", "dog"):
        (folder / name).rmdir()
    seen = audit(folder)
    assert seen.drawn
    assert seen.classes.loc["cat"].to_dict() == {"images": 25, "train": 16, "validation": 4, "test": 5}


def test_of_many_copies_one_stays_and_the_pairs_stay_few(folder):
    for number in range(12):
        shutil.copy(folder / "cat/3.png", folder / "cat" / f"copy{number}.png")
    seen = audit(folder)
    assert len(seen.pairs) == 12
    assert len(seen.removable()) == 12


def test_unreadable_files_are_named_with_the_reason_however_many(folder, found):
    for number in range(20):
        (folder / "dog" / f"broken{number}.jpg").write_bytes(b"no image")
    seen = audit(folder)
    problem = found(seen)["unreadable files"]
    assert problem.count == 20
    assert problem.examples[0].startswith("dog/broken0.jpg: cannot identify image file")
    assert "dog/broken0.jpg" in seen.removable()


@pytest.mark.parametrize(("left", "level"), [(10, "warning"), (2, "error"), (0, "error")])
def test_a_tiny_class_is_reported_even_where_it_cannot_be_loaded(folder, found, left, level):
    for file in sorted((folder / "dog").iterdir())[left:]:
        file.unlink()
    seen = audit(folder)
    problem = found(seen)["classes with fewer than 20 images"]
    assert (problem.level, problem.examples) == (level, [f"dog: {left}"])
    assert seen.classes.loc["dog", "images"] == left


def test_imbalance_names_what_always_answering_one_class_would_reach(folder, found):
    for file in sorted((folder / "dog").iterdir())[5:]:
        file.unlink()
    problem = found(audit(folder))["class imbalance"]
    assert "5 times" in problem.why
    assert "Always predicting 'cat' reaches an accuracy of 83%" in problem.why


def test_a_class_without_test_images_is_reported(folder, found):
    for split in ("train", "test"):
        for name in ("cat", "dog")[: 2 if split == "train" else 1]:
            shutil.copytree(folder / name, folder / split / name)
    for name in ("cat", "dog"):
        shutil.rmtree(folder / name)
    problem = found(audit(folder))["classes missing from a split"]
    assert "dog: none in test" in problem.examples


def test_a_kind_of_image_that_gives_the_class_away_is_a_shortcut(folder, found):
    for file in (folder / "dog").iterdir():
        Image.open(file).convert("L").save(file)
    problems = found(audit(folder))
    assert problems["greyscale images among colour images"].count == 25
    assert "shortcut" in problems["greyscale images among colour images, mostly in some classes"].why


def test_transparent_small_elongated_and_blank_files_are_notes(folder, found):
    cats = folder / "cat"
    see_through = Image.open(cats / "0.png").convert("RGBA")
    see_through.save(cats / "opaque.png")  # an alpha channel that hides nothing: a copy of 0.png
    see_through.putpixel((50, 50), (0, 0, 0, 0))
    see_through.save(cats / "1.png")
    Image.open(cats / "2.png").resize((20, 20)).save(cats / "2.png")
    Image.open(cats / "3.png").resize((200, 80)).save(cats / "3.png")
    Image.new("RGB", (96, 96), "navy").save(cats / "4.png")
    problems = found(audit(folder))
    named = {name: problem.examples for name, problem in problems.items()}
    assert named["transparent images"] == ["cat/1.png"]
    assert named["images smaller than 64 pixels"] == ["cat/2.png"]
    assert named["elongated images"] == ["cat/3.png"]
    assert named["blank images"] == ["cat/4.png"]


def test_a_data_set_that_is_loaded_is_audited_too(found):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3), "uint8")
    train = Split(pixels[:40], np.arange(40) % 2)
    test = Split(np.concatenate([pixels[40:], pixels[:3]]), np.arange(23) % 2)
    data = Dataset(train, None, test, ["a", "b"], load("digits/optical").card)
    seen = audit(data)
    assert found(seen)["identical images in two splits"].count == 3
    assert seen.images_at([0]).shape == (1, 32, 32, 3)


def test_what_is_no_folder_of_classes_is_refused(tmp_path, folder):
    with pytest.raises(DataError, match="no folder"):
        audit(tmp_path / "nowhere")
    for file in folder.rglob("*.png"):
        file.write_bytes(b"no image")
    with pytest.raises(DataError, match="None of the 50 image files"):
        audit(folder)
