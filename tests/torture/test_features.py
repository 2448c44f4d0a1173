"""Damage to the files of an interrupted extraction: the same call repairs it, or says what is wrong."""

import shutil
import warnings

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tlkit import scale_out
from tlkit.backbones import load_backbone
from tlkit.errors import TlkitError
from tlkit.scale_out import shards

pytest.importorskip("pyarrow")
FILES = ("_plan.json", "features-00000.parquet", "features-00001.parquet")  # of three shards, one is missing


@pytest.fixture(scope="module")
def extraction(tmp_path_factory):
    """Images, an interrupted extraction, a call that continues one, and the undisturbed features."""
    folder = tmp_path_factory.mktemp("features")
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(6):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype="uint8")
            Image.fromarray(pixels).save(folder / "photos" / name / f"{i}.png")
    (folder / "photos" / "cat" / "2.png").write_bytes(b"no image")
    keras.utils.set_random_seed(0)
    network = load_backbone("LeNet", weights=None, image_size=16)

    def run(out):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the unreadable image
            return scale_out.extract(folder / "photos", out, network, shard_size=4)

    run(folder / "whole")
    shutil.copytree(folder / "whole", folder / "interrupted")
    shards.shard_path(folder / "interrupted", 2).unlink()
    return folder, run


def contents(out):
    """The features, names, labels and unreadable images of a folder."""
    found = scale_out.read(out)
    tables = [shards.read_shard(path) for path in shards.shard_paths(out)]
    assert len(tables) == 3
    details = [
        (table.schema.names, table["digest"].to_pylist(), shards.unreadable(table)) for table in tables
    ]
    arrays = [found.features.tobytes(), found.names.tolist(), found.labels.tolist(), found.class_names]
    return arrays, details, scale_out.verify(out)


@given(st.sampled_from(FILES), st.floats(0, 1, exclude_max=True), st.integers(0, 7))
def test_after_a_flipped_bit_the_result_is_that_of_an_undisturbed_run_or_an_error(
    extraction, tmp_path_factory, name, where, bit
):
    folder, run = extraction
    out = tmp_path_factory.mktemp("damaged") / "out"
    shutil.copytree(folder / "interrupted", out)
    content = bytearray((out / name).read_bytes())
    content[int(where * len(content))] ^= 1 << bit
    (out / name).write_bytes(content)
    message = ""
    try:
        run(out)
    except TlkitError as error:
        message = str(error)
    assert "\n" not in message
    assert message or contents(out) == contents(folder / "whole")
