"""Features come back as they were written, and `verify` finds what is wrong."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from tlkit import scale_out
from tlkit.errors import DataError
from tlkit.scale_out import plan, shards


def test_shards_one_by_one_are_the_whole(run, out):
    run()
    parts = list(scale_out.read_shards(out))
    whole = scale_out.read(out)
    assert [len(part.names) for part in parts] == [8] * 5
    np.testing.assert_array_equal(np.concatenate([part.features for part in parts]), whole.features)
    assert np.concatenate([part.labels for part in parts]).tolist() == whole.labels.tolist()


def test_other_tools_read_the_folder(run, out):
    import pandas as pd

    run()
    table = pd.read_parquet(out)
    assert table.columns.tolist() == ["name", "class", "digest", "features"]
    np.testing.assert_array_equal(np.stack(table["features"]), scale_out.read(out).features)


def test_equal_images_have_equal_digests(run, photos, out):
    (photos / "dog" / "0.png").write_bytes((photos / "cat" / "0.png").read_bytes())
    run()
    digests = [
        each for path in shards.shard_paths(out) for each in shards.read_shard(path)["digest"].to_pylist()
    ]
    assert len(set(digests)) == 39
    assert digests[0] == digests[20]


def test_a_folder_without_features_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"There are no features .* tlkit features FOLDER --out"):
        scale_out.read(tmp_path)


def test_a_missing_shard_is_named(run, out):
    run()
    shards.shard_path(out, 3).unlink()
    for check in (scale_out.read, scale_out.verify):
        with pytest.raises(DataError, match=r"1 of 5 shards are missing .*features-00003"):
            check(out)


def test_images_that_are_there_twice_are_found(run, out):
    """A shard of this run, in its place, but with another shard's images: as no run writes it."""
    run()
    known = plan.read_plan(out)
    wrong = list(scale_out.read_shards(out))[1]
    shards.write_shard(out, known, 2, wrong.names.tolist(), ["cat"] * 8, [b"0" * 16] * 8, wrong.features, [])
    with pytest.raises(DataError, match="40 images, 8 of them more than once, but 40 were planned"):
        scale_out.verify(out)
    assert run().made == 1
    assert scale_out.verify(out) == (40, 0)
    assert json.loads((out / plan.FILE).read_text()) == asdict(known)
