"""Images with a table of labels: matching rows and images are loaded, others are left out and named."""

import shutil
from collections import Counter

import numpy as np
import pytest

from tlkit.data import ImageFiles, load_table
from tlkit.errors import DataError, TlkitWarning

pytestmark = pytest.mark.filterwarnings("error::tlkit.errors.TlkitWarning")


@pytest.fixture
def table(animals):
    """Write a table of the twenty animals, one row each, or any other text; return its path."""

    def write(text=None, *, header="file,kind,size", encoding="utf-8"):
        if text is None:
            rows = [f"{kind}/{i}.png,{kind},{i}.5" for kind in ("cat", "dog") for i in range(10)]
            text = "\n".join([header, *rows])
        path = animals / "labels.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def rows(dataset):
    return {
        name: {column: values[i] for column, values in split.attributes.items()}
        for split in dataset.splits.values()
        for i, name in enumerate(split.names.tolist())
    }


def test_each_column_is_an_attribute_of_text_and_there_are_no_classes(animals, table):
    dataset = load_table(animals, table(), image_size=8)
    assert {name: len(split) for name, split in dataset.splits.items()} == dataset.card.counts
    assert dataset.card.counts == {"train": 12, "validation": 4, "test": 4}
    assert dataset.class_names == []
    assert not dataset.train.labelled
    assert rows(dataset)["dog/7.png"] == {"kind": "dog", "size": "7.5"}
    assert len(rows(dataset)) == 20
    assert "2 columns: kind, size" in repr(dataset)


def test_the_table_is_found_in_the_folder(animals, table):
    table()
    assert len(rows(load_table(animals, "labels.csv", image_size=8))) == 20


def test_the_split_depends_on_the_seed(animals, table):
    names = [set(load_table(animals, table(), image_size=8, seed=seed).test.names) for seed in (0, 0, 1)]
    assert names[0] == names[1] != names[2]
    unsplit = load_table(animals, table(), image_size=8, validation=0, test=0)
    assert list(unsplit.splits) == ["train"]


def labels_by_split(animals, table, columns, **options):
    """Load the animals with these columns of twenty values each; return the values in each split."""
    header = ",".join(["file", *columns])
    names = [f"{kind}/{i}.png" for kind in ("cat", "dog") for i in range(10)]
    lines = [",".join(map(str, row)) for row in zip(names, *columns.values(), strict=True)]
    dataset = load_table(animals, table("\n".join([header, *lines])), image_size=8, **options)
    assert len(rows(dataset)) == 20
    return [{name: Counter(split.attributes[name]) for name in columns} for split in dataset.splits.values()]


@pytest.mark.parametrize("seed", range(3))
def test_each_split_has_the_same_proportions_of_each_class(animals, table, seed):
    grades = ["0"] * 15 + ["1"] * 5  # numbers can be classes
    train, validation, test = labels_by_split(animals, table, {"grade": grades}, seed=seed)
    assert train["grade"] == {"0": 9, "1": 3}
    assert validation["grade"] == test["grade"] == {"0": 3, "1": 1}


@pytest.mark.parametrize("seed", range(3))
def test_combinations_of_classes_are_split_in_proportion_if_each_has_enough_images(animals, table, seed):
    columns = {"kind": ["cat"] * 10 + ["dog"] * 10, "colour": (["red"] * 5 + ["blue"] * 5) * 2}
    _, *others = labels_by_split(animals, table, columns | {"size": range(20)}, seed=seed)
    for each in others:
        assert each["kind"] == {"cat": 2, "dog": 2}
        assert each["colour"] == {"red": 2, "blue": 2}


@pytest.mark.parametrize("seed", range(3))
def test_otherwise_the_first_column_of_classes_is_split_in_proportion(animals, table, seed):
    columns = {"size": range(20), "kind": ["cat"] * 17 + ["dog"] * 3, "colour": ["red"] * 2 + ["blue"] * 18}
    for each in labels_by_split(animals, table, columns, seed=seed):
        assert each["kind"]["dog"] == 1


@pytest.mark.parametrize("seed", range(3))
def test_numbers_are_split_so_that_each_split_has_small_and_large_ones(animals, table, seed):
    for each in labels_by_split(animals, table, {"size": [2**i for i in range(20)]}, seed=seed):
        assert min(map(int, each["size"])) < 2**5
        assert max(map(int, each["size"])) >= 2**15


@pytest.mark.parametrize("seed", range(3))
def test_of_several_labels_the_rarest_is_in_every_split(animals, table, seed):
    marks = ["round"] * 10 + ["round|red"] * 7 + ["red|tiny"] * 3
    for each in labels_by_split(animals, table, {"marks": marks}, seed=seed):
        assert each["marks"]["red|tiny"] == 1


@pytest.mark.parametrize(
    "values", [["a"] * 18 + ["b", "c"], ["a"] * 18 + ["", ""], [*map(chr, range(97, 117))], [""] * 20]
)
def test_classes_with_too_few_images_to_split_are_no_error(animals, table, values):
    sizes = [each["kind"].total() for each in labels_by_split(animals, table, {"kind": values})]
    assert sizes == [12, 4, 4]


def test_one_image_with_two_classes_is_named_with_both(animals, table):
    shutil.copy(animals / "cat" / "1.png", animals / "dog" / "2.png")
    text = "\n".join(line.rsplit(",", 1)[0] for line in table().read_text().splitlines())
    with pytest.warns(
        TlkitWarning, match=r"different classes, 1 pair: cat/1.png \(cat\) and dog/2.png \(dog"
    ):
        load_table(animals, table(text), image_size=8, validation=0, test=0)


def test_one_image_with_two_measurements_or_without_a_label_is_no_contradiction(animals, table):
    shutil.copy(animals / "cat" / "1.png", animals / "dog" / "2.png")
    text = table().read_text()
    unlabelled = "\n".join(
        line.rsplit(",", 1)[0] for line in text.replace("2.png,dog", "2.png,").splitlines()
    )
    measured = "\n".join(",".join(line.split(",")[::2]) for line in text.splitlines())
    for each in (unlabelled, measured):
        load_table(animals, table(each), image_size=8, validation=0, test=0)


def test_images_in_files_and_in_memory_have_the_same_rows(animals, table):
    lazy, in_memory = (load_table(animals, table(), image_size=8, in_memory=each) for each in (False, True))
    assert isinstance(lazy.train.images, ImageFiles)
    np.testing.assert_array_equal(lazy.train.images[:], in_memory.train.images)
    assert rows(lazy) == rows(in_memory)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_any_usual_separator_is_read(animals, write_image, table, separator, encoding):
    write_image("animals/Übung, 2.png")
    lines = [
        ["Datei", "Größe", "weight, in kg"],
        ["Übung, 2.png", "groß, sehr", " 2 "],
        ["cat/0.png", "", ""],
    ]
    text = "\r\n".join(separator.join(f'"{cell}"' for cell in line) for line in lines)
    for i in range(1, 10):
        (animals / "cat" / f"{i}.png").unlink()
    shutil.rmtree(animals / "dog")
    dataset = load_table(animals, table(text, encoding=encoding), image_size=8, validation=0, test=0)
    assert rows(dataset) == {
        "Übung, 2.png": {"Größe": "groß, sehr", "weight, in kg": "2"},
        "cat/0.png": {"Größe": "", "weight, in kg": ""},
    }


def test_decimal_commas_between_semicolons_become_points(animals, table):
    text = table().read_text().replace(",", ";").replace(".5", ",5")
    dataset = load_table(animals, table(text), image_size=8)
    assert rows(dataset)["cat/3.png"] == {"kind": "cat", "size": "3.5"}


def test_names_match_with_backslashes_and_without_their_folder(animals, write_image, table):
    write_image("animals/cat/deep/only.png")
    text = table().read_text().replace("cat/3.png", "cat\\3.png").replace("dog/", "./dog/")
    dataset = load_table(animals, table(text + "\nonly.png,cow,1\n\n,,\n"), image_size=8)
    assert rows(dataset)["cat/deep/only.png"]["kind"] == "cow"
    assert len(rows(dataset)) == 21


def test_a_bare_name_that_fits_two_files_is_refused(animals, table):
    with pytest.raises(
        DataError, match=r"'3.png' in labels.csv fits cat/3.png and dog/3.png. Write the path"
    ):
        load_table(animals, table("file,kind\n3.png,cat"), image_size=8)


def test_names_match_without_their_ending(animals, write_image, table):
    write_image("animals/cat/only.v2.jpg")
    text = table().read_text().replace(".png", "")
    dataset = load_table(animals, table(text + "\nonly.v2,cow,1"), image_size=8)
    assert rows(dataset)["cat/only.v2.jpg"]["kind"] == "cow"
    assert rows(dataset)["dog/7.png"] == {"kind": "dog", "size": "7.5"}
    assert len(rows(dataset)) == 21


def test_a_name_without_ending_that_fits_two_files_is_refused(animals, write_image, table):
    write_image("animals/cat/3.jpg")
    with pytest.raises(
        DataError, match=r"'cat/3' in labels.csv fits cat/3.jpg and cat/3.png. Write the path"
    ):
        load_table(animals, table("file,kind\ncat/3,cat"), image_size=8)
    with pytest.warns(TlkitWarning, match="no row"):
        dataset = load_table(animals, table("file,kind\ncat/3.png,cat"), image_size=8, validation=0, test=0)
    assert list(rows(dataset)) == ["cat/3.png"]


def test_rows_without_a_file_and_files_without_a_row_are_named(animals, table):
    text = table().read_text().replace("cat/9.png", "cat/99.png")
    with pytest.warns(TlkitWarning) as caught:
        dataset = load_table(animals, table(text), image_size=8)
    assert [str(each.message) for each in caught] == [
        f"1 row of labels.csv named no image below {animals} and was left out: cat/99.png.",
        f"1 image below {animals} had no row in labels.csv and was left out: cat/9.png.",
    ]
    assert dataset.skipped == [
        "cat/99.png: in labels.csv, but there is no such image",
        "cat/9.png: no row in labels.csv",
    ]
    assert len(rows(dataset)) == 19


def test_a_table_of_other_images_is_refused_with_an_example_of_each(animals, table):
    text = table().read_text().replace("cat/", "pets/cat/").replace("dog/", "pets/dog/")
    with pytest.raises(DataError, match=r"20 of 20 rows .*'pets/cat/0.png', and an image is 'cat/0.png'"):
        load_table(animals, table(text), image_size=8)


def test_an_unreadable_image_is_left_out_with_its_row(animals, table):
    (animals / "cat" / "5.png").write_bytes(b"broken")
    with pytest.warns(TlkitWarning, match=r"1 of 20 image files .*5\.png: "):
        dataset = load_table(animals, table(), image_size=8)
    assert "5.png" in dataset.skipped[0]
    assert all(row["size"] == f"{name[-5]}.5" for name, row in rows(dataset).items())


def test_a_column_named_split_decides_the_splits(animals, table):
    parts = ["Train"] * 6 + ["val"] * 2 + ["test"] * 2
    lines = [f"{kind}/{i}.png,{kind},{parts[i]}" for kind in ("cat", "dog") for i in range(10)]
    dataset = load_table(animals, table("\n".join(["file,kind,Split", *lines])), image_size=8)
    assert dataset.card.counts == {"train": 12, "validation": 4, "test": 4}
    assert sorted(dataset.test.names) == ["cat/8.png", "cat/9.png", "dog/8.png", "dog/9.png"]
    assert list(dataset.train.attributes) == ["kind"]
    only = [line.replace("val", "train").replace("test", "train") for line in lines]
    dataset = load_table(animals, table("\n".join(["file,kind,split", *only])), image_size=8)
    assert dataset.card.counts == {"train": 16, "validation": 4}  # validation is taken from train


def test_a_column_named_split_must_have_valid_values_and_train(animals, table):
    lines = table().read_text().splitlines()[1:]
    with pytest.raises(DataError, match="'split' never says train"):
        load_table(animals, table("\n".join(["file,kind,split", *[f"{x[:9]},cat,test" for x in lines]])))
    with pytest.raises(DataError, match=r"has 'tset' for cat/0\.png; expected train"):
        load_table(animals, table("\n".join(["file,kind,split", *[f"{x[:9]},cat,tset" for x in lines]])))


def test_an_image_in_two_splits_is_named_as_a_leak(animals, table):
    shutil.copy(animals / "cat" / "1.png", animals / "cat" / "2.png")
    lines = [f"cat/{i}.png,{i},{'test' if i == 2 else 'train'}" for i in range(10)]
    shutil.rmtree(animals / "dog")
    with pytest.warns(TlkitWarning, match=r"cat/1.png and cat/2.png.*leak"):
        dataset = load_table(
            animals, table("\n".join(["file,size,split", *lines])), image_size=8, validation=0
        )
    assert dataset.duplicates == [("cat/1.png", "cat/2.png")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot be read as a table"),
        ("file\ncat/1.png", "columns file; expected the file name first, then one column per task"),
        ("file,split\ncat/1.png,train", "expected the file name first, then one column per task"),
        ("file,a,\ncat/1.png,1,2", "Column 3 of .*'', has no name. Rename it"),
        ("file,a,a\ncat/1.png,1,2", "Column 2 of .*'a', is repeated"),
        ("file,a/b\ncat/1.png,1", "'a/b', has a slash"),
        ("file,a\ncat/1.png,1,2", "cannot be read as a table: .*Expected 2 fields in line 2, saw 3"),
        ("file,a\n", "has a header and no rows"),
        ("file,a\ncat/1.png,1\ncat/1.png,2", "two rows for cat/1.png: lines 2 and 3. Remove one"),
        ("file,a\ncat/1.png,1\ncat/2.png,2", "'all images' has 2, and each needs at least 3"),
    ],
)
def test_the_error_of_an_unsuitable_table_names_the_next_step(animals, table, text, message):
    with (
        pytest.warns(TlkitWarning, match="no row") if "has 2" in message else pytest.MonkeyPatch.context(),
        pytest.raises(DataError, match=f"(?s){message}"),
    ):
        load_table(animals, table(text), image_size=8)


def test_missing_files_and_files_that_are_not_text_are_refused(animals, table, tmp_path):
    with pytest.raises(DataError, match="no folder at"):
        load_table(tmp_path / "nowhere", table())
    with pytest.raises(DataError, match="no table at"):
        load_table(animals, animals / "absent.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images below"):
        load_table(tmp_path / "empty", table())
    with pytest.raises(DataError, match="cannot be read as a table"):
        load_table(animals, animals / "cat" / "1.png")
    with pytest.raises(DataError, match="UTF-8"):
        load_table(animals, table("file,größe\ncat/1.png,1", encoding="latin-1"))
