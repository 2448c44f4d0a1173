"""A run begins, goes on, and refuses what it cannot go on with."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import keras
import numpy as np
import pyarrow
import pytest
from PIL import Image
from pushes import mostly_full

from tlkit import scale_out
from tlkit.backbones import engines, load_backbone
from tlkit.data.decode import decode
from tlkit.errors import DataError, OutputError, TlkitError, TlkitWarning, UnknownNameError
from tlkit.scale_out import extraction, plan, shards
from tlkit.scale_out.worker import Worker

KILLED = """
import sys, time
import keras, pyarrow.parquet
from tlkit import scale_out

whole, written = pyarrow.parquet.write_table, []

def third_never_ends(table, path, **options):
    whole(table, path, **options)
    written.append(path)
    if len(written) == 3:
        path.write_bytes(path.read_bytes()[:999])
        print("in the middle", flush=True)
        time.sleep(60)

pyarrow.parquet.write_table = third_never_ends
photos, out, network = sys.argv[1:]
scale_out.extract(photos, out, keras.saving.load_model(network), shard_size=8)
"""


def times(out):
    return {path.name: path.stat().st_mtime_ns for path in shards.shard_paths(out)}


def names(out):
    return sorted(path.name for path in out.iterdir())


def test_the_features_are_those_of_the_network(run, photos, out, network):
    done = run()
    assert (done.images, done.width, done.shards, done.made) == (40, 100, 5, 5)
    found = scale_out.read(out)
    assert found.names.tolist() == [f"{name}/{i}.png" for name in ("cat", "dog") for i in range(20)]
    assert found.class_names == done.class_names == ["cat", "dog"]
    assert found.labels.tolist() == [0] * 20 + [1] * 20
    pixels = np.stack([decode(photos / name, 28) for name in found.names])
    np.testing.assert_allclose(found.features, network.predict(pixels, verbose=0), atol=1e-4)


def test_a_feature_map_is_averaged_over_its_places(run, photos, out):
    pixels = keras.Input((16, 16, 3))
    backbone = keras.Model(pixels, keras.layers.Conv2D(5, 3)(pixels), name="one_layer")
    assert run(backbone=backbone, shard_size=25).width == 5
    images = np.stack([decode(photos / name, 16) for name in scale_out.read(out).names])
    expected = backbone.predict(images, verbose=0).mean(axis=(1, 2))
    np.testing.assert_allclose(scale_out.read(out).features, expected, atol=1e-4 * np.abs(expected).max())


def test_a_finished_run_has_nothing_to_do(run, out, monkeypatch):
    run()
    before = times(out)
    monkeypatch.setattr(engines, "infer", lambda *_, **__: pytest.fail("computed again"))
    assert run().made == 0
    assert times(out) == before


def test_after_a_kill_in_the_middle_of_a_shard_no_image_is_lost_or_twice(
    run, photos, out, network, undisturbed, same, tmp_path
):
    network.save(tmp_path / "network.keras")
    command = [sys.executable, "-c", KILLED, photos, out, tmp_path / "network.keras"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"in the middle\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = times(out)
    assert len(before) == 2
    for path in shards.shard_paths(out):
        assert shards.read_shard(path).num_rows == 8
    with pytest.raises(DataError, match=r"3 of 5 shards are missing .* Run the same"):
        scale_out.read(out)

    done = run()
    assert (done.made, done.images) == (3, 40)
    assert before.items() <= times(out).items()
    same(out, undisturbed)
    assert names(out) == ["_plan.json", *(f"features-0000{i}.parquet" for i in range(5))]


@pytest.mark.parametrize("damage", ["empty", "garbage", "half", "one bit", "another shard", "another run"])
def test_a_damaged_shard_alone_is_made_again(run, out, undisturbed, same, damage, tmp_path):
    run()
    before = times(out)
    path = shards.shard_path(out, 2)
    content = bytearray(path.read_bytes())
    if damage == "half":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "one bit":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "another shard":
        shutil.copy(shards.shard_path(out, 1), path)
    elif damage == "another run":
        other = load_backbone("LeNet", weights=None)
        run(out=tmp_path / "other", backbone=other)
        shutil.copy(shards.shard_path(tmp_path / "other", 2), path)
    else:
        path.write_bytes(b"no shard" if damage == "garbage" else b"")
    with pytest.raises(DataError, match="features-00002"):
        scale_out.verify(out)
    assert run().made == 1
    assert {name for name, when in times(out).items() if when != before[name]} == {path.name}
    same(out, undisturbed)


def test_unreadable_images_are_left_out_and_listed(run, photos, out):
    (photos / "cat" / "7.png").write_bytes(b"no picture")
    with pytest.warns(TlkitWarning, match=r"1 of 40 images could not be read: cat/7.png: cannot identify"):
        done = run()
    assert (done.images, len(done.unreadable)) == (39, 1)
    assert (out / "_unreadable.txt").read_text().startswith("cat/7.png: cannot identify")
    assert scale_out.verify(out) == (39, 1)
    found = scale_out.read(out)
    assert "cat/7.png" not in found.names
    assert found.features.shape == (39, 100)
    with pytest.warns(TlkitWarning, match="cat/7.png"):
        assert run().made == 0


def test_many_unreadable_images_end_the_run(run, photos, out):
    for i in range(5):
        (photos / "cat" / f"{i}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"5 of 40 images could not be read.*more than 10%.*--overwrite"):
        run()
    assert len((out / "_unreadable.txt").read_text().splitlines()) == 5
    assert len(times(out)) == 1


def test_a_shard_without_a_readable_image_is_a_shard(run, photos, out):
    for i in range(2):
        (photos / "dog" / f"{18 + i}.png").write_bytes(b"no picture")
    with pytest.warns(TlkitWarning, match="2 of 40"):
        done = run(shard_size=2)
    assert (done.shards, done.images) == (20, 38)
    assert scale_out.read(out).features.shape == (38, 100)
    assert scale_out.verify(out) == (38, 2)


def test_images_that_have_gone_are_an_error_and_not_unreadable(run, photos, out, monkeypatch):
    listed = plan.list_images(photos)
    (photos / "dog" / "3.png").unlink()
    monkeypatch.setattr(plan, "list_images", lambda _: listed)
    with pytest.raises(DataError, match=r"1 of the images are missing on .* such as .*dog/3.png"):
        run()
    assert len(times(out)) == 2


def test_images_as_they_lie_have_no_classes(run, photos, out, tmp_path):
    for i, path in enumerate(sorted(photos.rglob("*.png"))):
        path.rename(photos / f"{i}.png")
    for name in ("cat", "dog"):
        (photos / name).rmdir()
    with pytest.warns(TlkitWarning, match=r"no classes, .* lie directly in"):
        run()
    found = scale_out.read(out)
    assert found.labels is None
    assert found.class_names == []
    assert found.names.tolist() == [f"{i}.png" for i in range(40)]
    assert scale_out.verify(out) == (40, 0)


def test_images_outside_the_classes_are_said(run, photos):
    Image.new("RGB", (9, 9)).save(photos / "stray.png")
    with pytest.warns(TlkitWarning, match=r"1 of 41 images are outside .* such as .*stray.png"):
        assert run().images == 40


def test_other_settings_are_refused_and_nothing_is_lost(run, out):
    run()
    before = times(out)
    with pytest.raises(OutputError, match=r"shard_size was 8 and is now 9.*--overwrite"):
        run(shard_size=9)
    with pytest.raises(OutputError, match=r"weights was [0-9a-f]{32} and is now [0-9a-f]{32}"):
        run(backbone=load_backbone("LeNet", weights=None))
    with pytest.raises(OutputError, match="image_size was 28 and is now 32"):
        run(backbone=load_backbone("LeNet", weights=None, image_size=32))
    assert times(out) == before
    assert run(shard_size=20, overwrite=True).made == 2
    assert len(times(out)) == 2
    assert scale_out.verify(out) == (40, 0)


def test_a_changed_folder_is_refused(run, photos, out):
    run()
    before = times(out)
    (photos / "cat" / "0.png").rename(photos / "cat" / "a.png")
    with pytest.raises(
        OutputError, match=r"changed since .* the number of images is the same, but some names differ"
    ):
        run()
    (photos / "cat" / "a.png").rename(photos / "cat" / "0.png")
    Image.new("RGB", (9, 9)).save(photos / "cat" / "20.png")
    with pytest.raises(OutputError, match="there were 40 images and are now 41"):
        run()
    (photos / "cat" / "20.png").unlink()
    Image.new("RGB", (9, 9)).save(photos / "cat" / "0.png")
    with pytest.raises(OutputError, match=r"the names are the same, but the files had .* bytes"):
        run()
    assert times(out) == before


def test_what_else_lies_there_is_not_touched(run, photos, out):
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="not empty"):
        run()
    run(overwrite=True)
    assert (out / "thesis.txt").read_text() == "years of work"
    with pytest.raises(OutputError, match="inside the folder of images"):
        run(out=photos / "features")
    (out / "_plan.json").write_text("{")
    with pytest.raises(OutputError, match=r"_plan.json cannot be read.*--overwrite"):
        run()


def test_a_full_disk_leaves_what_is_finished(run, out, undisturbed, same, monkeypatch):
    real = shards.parquet().write_table

    def full(table, path, **options):
        if shards.shard_path(out, 1).exists():
            raise OSError(28, "No space left on device")
        real(table, path, **options)

    monkeypatch.setattr(shards.parquet(), "write_table", full)
    with pytest.raises(OutputError, match=r"No space left on device.*Make room"):
        run()
    monkeypatch.undo()
    assert names(out) == ["_plan.json", "features-00000.parquet", "features-00001.parquet"]
    assert run().made == 3
    same(out, undisturbed)


def test_mistakes_are_said_before_any_work(run, network, tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'local'"):
        run(engine="locale")
    with pytest.raises(TlkitError, match="workers and address need engine='ray'"):
        run(workers=2)
    with pytest.raises(TlkitError, match="shard_size=0"):
        run(shard_size=0)
    with pytest.raises(DataError, match="There is no folder at"):
        run(folder=tmp_path / "nowhere")
    assert extraction.ENGINES == ("local", "ray")


def users_parquet(path):
    """A Parquet file of the user with the name of a shard."""
    table = pyarrow.table({"height": [1.8, 1.6]})
    shards.parquet().write_table(table, path)
    return path.read_bytes()


def test_overwrite_deletes_only_what_tlkit_wrote(run, out):
    run()
    mine = {out / f"features-{name}.parquet": None for name in ("00099", "of-my-thesis")}
    mine = {path: users_parquet(path) for path in mine}
    (out / ".writing-a-novel").mkdir()
    (out / ".writing-a-novel" / "chapter.txt").write_text("It was a dark night.")
    done = run(shard_size=20, overwrite=True)
    assert done.made == 2
    assert {path: path.read_bytes() for path in mine} == mine
    assert (out / ".writing-a-novel" / "chapter.txt").exists()
    assert names(out) == sorted(
        [".writing-a-novel", "_plan.json", "features-00000.parquet", "features-00001.parquet"]
        + [path.name for path in mine]
    )


@pytest.mark.parametrize("name", ["_plan.json", "_unreadable.txt", "features-00001.parquet"])
def test_a_file_of_another_program_with_a_name_that_is_needed_is_refused(run, out, name):
    out.mkdir()
    if name.endswith("parquet"):
        users_parquet(out / name)
    else:
        (out / name).write_text('{"my": "plan"}')
    before = (out / name).read_bytes()
    with pytest.raises(OutputError, match=rf"{name} was not written by tlkit features.*another --out"):
        run(overwrite=True)
    assert names(out) == [name]
    assert (out / name).read_bytes() == before


def test_a_users_file_in_the_place_of_a_shard_is_not_replaced_by_continuing(run, out):
    run()
    before = users_parquet(shards.shard_path(out, 2))
    with pytest.raises(OutputError, match=r"features-00002\.parquet was not written by tlkit"):
        run()
    assert shards.shard_path(out, 2).read_bytes() == before


def test_a_run_that_fails_before_any_work_leaves_no_folder(run, out, tmp_path):
    with pytest.raises(DataError, match="There is no folder at"):
        run(folder=tmp_path / "nowhere")
    assert not out.exists()


def test_a_run_that_failed_before_its_first_shard_does_not_bind_the_next(run, out, network, monkeypatch):
    monkeypatch.setattr(Worker, "make", lambda self, job: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run()
    monkeypatch.undo()
    assert names(out) == ["_plan.json"]
    assert run(shard_size=20).made == 2


def test_what_a_kill_before_the_plan_left_does_not_refuse_the_same_command(run, out):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = out / f".writing-{socket.gethostname()}-{ended.pid}-x1y2z3a4"
    left.mkdir(parents=True)
    (left / "_plan.json").write_text("{")
    assert run().made == 5
    assert left.name not in names(out)


def test_a_plan_whose_values_have_changed_is_refused(run, out):
    run()
    text = (out / "_plan.json").read_text()
    for old, new in (("8", "0"), ("8", "8.5"), ("8", '"8"')):
        (out / "_plan.json").write_text(text.replace(f'"shard_size": {old}', f'"shard_size": {new}'))
        with pytest.raises(OutputError, match=r"_plan.json is damaged.*--overwrite"):
            scale_out.read(out)
    (out / "_plan.json").write_text(text.replace('"dog"', '"eog"'))
    with pytest.raises(DataError, match=r"features-00000\.parquet is from another run"):
        scale_out.read(out)


@pytest.mark.parametrize("delay", mostly_full([0.0, 0.05, 0.3], 0.05))
def test_after_ctrl_c_at_any_moment_the_same_call_continues(run, out, same, undisturbed, delay):
    """The signal comes as soon as the folder exists, or a little later."""
    killer = threading.Thread(target=interrupt_soon_after, args=(out, delay))
    with suppress(KeyboardInterrupt):
        killer.start()
        run(shard_size=1)
        killer.join()
        time.sleep(1)  # the signal comes here if the run was faster
    run(shard_size=1)
    same(out, undisturbed)


def interrupt_soon_after(out, delay):
    while not out.exists():
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(os.getpid(), signal.SIGINT)
