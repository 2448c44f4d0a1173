"""Links, pipes and odd names in a folder of images: nothing hangs, and what is left out is named."""

import os
import shutil
import socket
import warnings

import numpy as np
import pytest

from tlkit.data.catalog import load
from tlkit.data.folder import load_folder, load_unsorted
from tlkit.data.layout import images_below
from tlkit.data.table import load_table
from tlkit.errors import DataError, TlkitError, TlkitWarning
from tlkit.experiments.audit.inventory import from_folder

LATIN = os.fsdecode(b"caf\xe9.png")  # not UTF-8


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


UNREADABLE = {
    "pipe": os.mkfifo,
    "socket": make_socket,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to nothing": lambda path: path.symlink_to("absent.png"),
}


@pytest.fixture(params=UNREADABLE)
def unreadable(request, animals, monkeypatch):
    monkeypatch.chdir(animals)  # the path of a socket is short
    UNREADABLE[request.param](animals / "cat/odd.png")
    return animals


@pytest.mark.parametrize("read", [load_folder, load_unsorted])
def test_what_is_no_regular_file_is_left_out_by_name(unreadable, read):
    with pytest.warns(TlkitWarning, match=r"1 of 21 image files .*cat/odd\.png: .+ They are left out"):
        data = read(unreadable, image_size=8)
    assert sum(map(len, data.splits.values())) == 20
    assert len(data.skipped) == 1


def test_the_audit_lists_what_is_no_regular_file(unreadable):
    found = from_folder(unreadable, validation=0.2, test=0.2, seed=0)
    assert len(found.images) == 20
    assert [line.split(":")[0] for line in found.unreadable] == ["cat/odd.png"]


def test_a_folder_with_the_ending_of_an_image_is_a_folder(animals, write_image):
    write_image("animals/cat/more.png/a.png")
    (animals / "dog/empty.jpg").mkdir()
    assert len(images_below(animals)) == 21


def test_a_link_to_a_folder_that_contains_it_is_left_out(animals):
    for place in ("all", "cat/up", "dog/up"):
        (animals / place).symlink_to(animals)
    with pytest.warns(TlkitWarning) as caught:
        data = load_folder(animals, image_size=8)
    said = {str(each.message) for each in caught}
    for place in ("all", "cat/up", "dog/up"):
        assert any(text.startswith(f"{animals / place} is a link to a folder") for text in said)
    assert data.class_names == ["cat", "dog"]
    assert sum(map(len, data.splits.values())) == 20


def test_a_folder_that_has_many_links_is_read_once_under_its_own_name(animals):
    (animals / "cat/a").symlink_to(animals / "dog")
    (animals / "dog/b").symlink_to(animals / "cat")
    for i in range(12):  # 5 ** 11 paths
        (animals / f"cat/{i}").mkdir()
        for k in range(5 if i else 0):
            (animals / f"cat/{i - 1}/link{k}").symlink_to(animals / f"cat/{i}")
    with pytest.warns(TlkitWarning, match="is a link to a folder that is read under another name"):
        files = images_below(animals)
    assert [str(file.relative_to(animals)) for file in files] == [
        f"{kind}/{i}.png" for kind in ("cat", "dog") for i in range(10)
    ]


def test_a_link_to_a_class_elsewhere_is_read(animals, tmp_path):
    shutil.move(animals / "cat", tmp_path / "elsewhere")
    (animals / "cat").symlink_to(tmp_path / "elsewhere")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_folder(animals, image_size=8).class_names == ["cat", "dog"]


def test_names_that_are_not_utf_8_become_text(animals, write_image):
    write_image("new.png").rename(animals / "cat" / LATIN)
    (animals / "dog" / LATIN).write_text("not an image")
    (animals / "dog").rename(animals / os.fsdecode(b"d\xf6g"))
    with pytest.warns(TlkitWarning) as caught:
        data = load_folder(animals, image_size=8)
    texts = [name for split in data.splits.values() for name in split.names.tolist()]
    texts += [*data.skipped, *data.class_names, repr(data), *(str(each.message) for each in caught)]
    assert "cat/caf\\xe9.png" in texts
    assert "\n".join(texts).encode()
    assert data.train.images.shape[1:] == (8, 8, 3)
    found = from_folder(animals, validation=0.2, test=0.2, seed=0)
    assert found.unreadable[0].startswith("d\\xf6g/caf\\xe9.png: cannot identify")


def test_a_warning_about_a_name_with_a_line_end_has_one_line(animals):
    (animals / "cat/two\nlines.png").write_text("not an image")
    with pytest.warns(TlkitWarning) as caught:
        load_folder(animals, image_size=8)
    assert "\n" not in str(caught[0].message)


def test_a_table_names_files_next_to_odd_ones(animals, tmp_path):
    os.mkfifo(animals / "cat/pipe.png")
    (animals / "cat" / LATIN).write_text("not an image")
    rows = [f"{kind}/{i}.png,{kind}\n" for kind in ("cat", "dog") for i in range(10)]
    (tmp_path / "labels.csv").write_text("".join(["file,label\n", *rows, "cat/pipe.png,cat\n"]))
    with pytest.warns(TlkitWarning) as caught:
        data = load_table(animals, tmp_path / "labels.csv", image_size=8)
    assert sum(map(len, data.splits.values())) == 20
    said = "\n".join(str(each.message) for each in caught)
    assert "cat/pipe.png: not a regular file" in said
    assert "cat/caf\\xe9.png" in said


def load_with_long_table(path):
    return load_table(path, "a" * 300, image_size=8)


@pytest.mark.parametrize("read", [load, load_folder, load_unsorted, load_with_long_table])
@pytest.mark.parametrize(
    "name", ["a" * 300, f"x/{'a' * 300}", LATIN, "two\nlines", "a\0b", "~nobody-here/x", "/dev/zero", "."]
)
def test_a_name_that_is_no_folder_of_images_is_refused_in_one_line(read, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TlkitError) as raised:
        read(name)
    assert str(raised.value).encode().splitlines()[1:] == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may list every folder")
def test_a_folder_that_cannot_be_listed_is_named(animals):
    (animals / "cat").chmod(0)
    try:
        with pytest.raises(DataError, match=r"cat cannot be listed: Permission denied"):
            load_folder(animals, image_size=8)
    finally:
        (animals / "cat").chmod(0o755)


def test_images_without_permission_are_unreadable(animals, monkeypatch):
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    (animals / "cat/1.png").chmod(0)
    with pytest.warns(TlkitWarning, match=r"cat/1\.png: .*Permission denied"):
        assert len(np.concatenate([each.labels for each in load_folder(animals).splits.values()])) == 19
