"""The photos of clothes are downloaded once, here from a server on loopback, and kept whole or not at all."""

import http.server
import io
import resource
import signal
import socket
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tlkit._internal import cache
from tlkit.data import clothing, download, is_here, load
from tlkit.data.cards import checksum, read_card
from tlkit.errors import DataError, TlkitWarning

CLASSES = ["dress", "hat"]
PARTS = ("train", "validation", "test")
PHOTOS = {
    f"{part}/{name}/{i}.jpg": 40 + 20 * i for part in PARTS for name in CLASSES for i in range(4)
}  # a photo and its grey level


def archive(photos=PHOTOS, size=(300, 400)):
    """Return a zip archive as GitHub makes one: everything is in a folder with the name of the commit."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as files:
        files.writestr(f"clothing-{clothing.COMMIT}/README.md", "Clothes.")
        for name, level in photos.items():
            noise = np.random.default_rng([*name.encode()]).integers(-20, 21, (size[1], size[0], 3))
            photo = io.BytesIO()
            Image.fromarray((level + noise).astype("uint8")).save(photo, "JPEG", quality=95)
            files.writestr(f"clothing-{clothing.COMMIT}/{name}", photo.getvalue())
    return whole.getvalue()


class Answer(http.server.BaseHTTPRequestHandler):
    """Answer a request with the server's content, in one of several wrong ways if it is asked for."""

    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    def do_GET(self):
        server = self.server
        server.requests += 1
        if server.fault == "missing":
            self.send_error(404)
            return
        self.send_response(200)
        if server.fault != "unknown length":  # then the end of the connection is the end of the file
            self.send_header("Content-Length", str(len(server.content)))
        self.end_headers()
        whole = not server.fault
        self.wfile.write(server.content if whole else server.content[: len(server.content) // 2])
        if server.fault == "stalled":
            self.wfile.flush()
            server.over.wait(5)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server of a small data set with two classes, which stands in for the source."""
    names = sorted(PHOTOS)
    counts = {part: len([name for name in names if name.startswith(part)]) for part in PARTS}
    content = checksum(f"{name}\n".encode() for name in names)
    cards = {
        name: replace(read_card(name), classes=CLASSES, counts=counts, checksum=content)
        for name in ("clothing", "clothing/few")
    }
    monkeypatch.setattr(clothing, "read_card", cards.get)
    monkeypatch.setattr(clothing, "LEVELS", {part: (70.0, 70.0) for part in PARTS})
    monkeypatch.setattr(clothing, "FEW_TRAIN", 2)
    monkeypatch.setattr(clothing, "FEW_VALIDATION", 1)
    monkeypatch.delenv("TLKIT_DATA", raising=False)
    monkeypatch.setenv("TLKIT_CACHE", str(tmp_path / "cache"))
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    made.content, made.fault, made.requests, made.over = archive(), "", 0, threading.Event()
    monkeypatch.setattr(clothing, "URL", f"http://127.0.0.1:{made.server_port}/archive.zip")
    threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    made.over.set()
    made.shutdown()
    made.server_close()


def kept():
    """Return what is in the cache, partial downloads included."""
    return sorted(path.name for path in cache.root().glob("*")) if cache.root().is_dir() else []


def test_the_photos_are_downloaded_once_resized_and_kept(server):
    assert not is_here("clothing")
    data = load("clothing", image_size=32)
    assert {part: len(split) for part, split in data.splits.items()} == dict.fromkeys(PARTS, 8)
    assert data.class_names == CLASSES
    assert data.card.licence.startswith("CC0")
    assert is_here("clothing")
    assert is_here("clothing/few")
    server.shutdown()
    again = load("clothing", image_size=32)
    assert server.requests == 1
    assert again.test.fingerprint() == data.test.fingerprint()
    with Image.open(cache.root() / "clothing" / "train" / "hat" / "0.jpg") as photo:
        assert photo.size == (256, 341)
    assert kept() == ["clothing"]


def test_few_has_few_labels_for_training_and_the_whole_test_split(server):
    few, whole = load("clothing/few", image_size=16), load("clothing", image_size=16)
    assert [len(split) for split in few.splits.values()] == [4, 2, 8]
    assert set(few.train.names) < set(whole.train.names)
    assert few.card.name == "clothing/few"
    others = [set(load("clothing/few", image_size=16, seed=seed).train.names) for seed in range(4)]
    assert len(set(map(frozenset, others))) > 1


@pytest.mark.parametrize("fault", ["cut", "unknown length", "missing", "stalled"])
def test_a_download_that_fails_is_one_line_keeps_nothing_and_can_be_repeated(server, fault, monkeypatch):
    monkeypatch.setattr(download, "STALLED_SECONDS", 0.3)
    server.fault = fault
    with pytest.raises(DataError, match=r"could not be downloaded.*Nothing was kept.*try again") as caught:
        load("clothing", image_size=16)
    assert "\n" not in str(caught.value)
    assert kept() == []
    server.fault = ""
    assert len(load("clothing", image_size=16).train) == 8


BRIGHTER = {name: level + 5 for name, level in PHOTOS.items()}
RENAMED = {name.replace("hat", "cap"): level for name, level in PHOTOS.items()}
MISSING = dict(list(PHOTOS.items())[1:])


@pytest.mark.parametrize(
    ("photos", "says"),
    [
        (BRIGHTER, r"train/dress have a mean grey level of 75\.\d, expected 70"),
        (RENAMED, "the checksum of its file names is"),
        (MISSING, "it has 23 photos, expected 24"),
        ({}, "it has 0 photos"),
    ],
)
def test_an_archive_with_another_content_is_refused(server, photos, says):
    server.content = archive(photos)
    with pytest.raises(DataError, match=f"is not the data set 'clothing'.*{says}.*Nothing was kept"):
        load("clothing", image_size=16)
    assert kept() == []


def test_a_page_in_place_of_the_archive_is_refused(server):
    server.content = b"<html>Sign in to this network</html>"
    with pytest.raises(DataError, match=r"could not be downloaded.*not a zip file.*Nothing was kept"):
        load("clothing", image_size=16)
    assert kept() == []


def test_a_photo_that_cannot_be_read_is_refused(server):
    server.content = server.content.replace(b"\xff\xd8\xff\xe0", b"\x00\x00\x00\x00", 1)
    with pytest.raises(DataError, match=r"could not be downloaded.*Nothing was kept"):
        load("clothing", image_size=16)
    assert kept() == []


def test_a_full_disk_keeps_nothing(server):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, before[1]))
    try:
        with pytest.raises(DataError, match=r"File too large.*free disk space.*TLKIT_CACHE"):
            load("clothing", image_size=16)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert kept() == []


def test_without_a_network_the_error_comes_at_once(server, monkeypatch):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(clothing, "URL", f"http://127.0.0.1:{unused.getsockname()[1]}/archive.zip")
        with pytest.raises(
            DataError, match=r"is not on this machine, and 127.0.0.1 cannot be reached"
        ) as caught:
            load("clothing")
    assert "TLKIT_DATA" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert kept() == []


@pytest.fixture
def copies(server, tmp_path, monkeypatch):
    """A folder with copies that TLKIT_DATA names; the server must not be asked."""
    load("clothing", image_size=16)
    (cache.root() / "clothing").rename(tmp_path / "clothing")
    monkeypatch.setenv("TLKIT_DATA", str(tmp_path))
    server.requests = 0
    yield tmp_path / "clothing"
    assert server.requests == 0


def test_copies_are_read_from_the_folder_of_tlkit_data(copies):
    assert is_here("clothing")
    assert len(load("clothing", image_size=16).train) == 8


def test_an_empty_tlkit_data_is_named(copies, monkeypatch, tmp_path):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("TLKIT_DATA", str(tmp_path / "empty"))
    with pytest.raises(DataError, match=r"TLKIT_DATA names .*empty, which has no folder 'clothing'"):
        load("clothing")
    assert not is_here("clothing")


def test_copies_of_another_version_are_refused_and_not_touched(copies):
    (copies / "train" / "hat" / "0.jpg").rename(copies / "train" / "hat" / "new.jpg")
    with pytest.raises(
        DataError, match=r"is not the data set 'clothing': the checksum of its file names.*unset TLKIT_DATA"
    ):
        load("clothing")
    assert (copies / "train" / "hat" / "new.jpg").is_file()


def test_a_class_pack_has_the_photos_in_its_environment(server, copies, monkeypatch):
    monkeypatch.delenv("TLKIT_DATA")
    monkeypatch.setattr(clothing, "PACKED", copies)
    assert len(load("clothing", image_size=16).train) == 8


def test_a_damaged_cache_is_downloaded_again(server):
    load("clothing", image_size=16)
    (cache.root() / "clothing" / "train" / "hat" / "0.jpg").unlink()
    with pytest.warns(
        TlkitWarning, match="is damaged: it has 23 photos, expected 24. It is downloaded again"
    ):
        assert len(load("clothing", image_size=16).train) == 8
    assert server.requests == 2


@pytest.mark.filterwarnings("ignore:Identical images")
def test_a_photo_keeps_its_orientation(server):
    upright = Image.new("RGB", (400, 300), (70, 70, 70))
    exif = upright.getexif()
    exif[0x0112] = 6  # rotate by 90 degrees
    photo = io.BytesIO()
    upright.save(photo, "JPEG", exif=exif)
    with zipfile.ZipFile(changed := io.BytesIO(), "w") as files:
        for name in PHOTOS:
            files.writestr(f"clothing/{name}", photo.getvalue())
    server.content = changed.getvalue()
    load("clothing", image_size=16)
    with Image.open(cache.root() / "clothing" / "test" / "hat" / "0.jpg") as stored:
        assert stored.size == (256, 341)
