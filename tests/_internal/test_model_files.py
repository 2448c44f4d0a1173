"""Model files are opened without foreign code, and with no more memory than their size allows."""

import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from tlkit._internal import model_files
from tlkit._internal.model_files import check_hdf5_file, load_model, most_bytes, reason_of

MEMBERS = ("metadata.json", "config.json", "model.weights.h5")


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """The members of a small .keras file, by name."""
    path = tmp_path_factory.mktemp("model") / "model.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense")]).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def written(members, tmp_path):
    """Write a .keras file, with other contents of some members; return its path."""

    def write(changed=None, method=zipfile.ZIP_STORED):
        path = tmp_path / "model.keras"
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, content in (members | (changed or {})).items():
                archive.writestr(name, content)
        return path

    return write


def weights_with(members, change):
    """Return the weights of the small model after a change to the HDF5 file."""
    file = io.BytesIO(members["model.weights.h5"])
    with h5py.File(file, "a") as weights:
        change(weights)
    return file.getvalue()


def declare(weights):
    weights.create_dataset("huge", shape=(30_000, 30_000), dtype="f4")


def declare_compressed(weights):
    weights.create_dataset(
        "huge", shape=(30_000, 30_000), dtype="f4", chunks=(3000, 3000), compression="gzip"
    )


def one_huge_chunk(weights):
    weights.create_dataset("one", shape=(1,), maxshape=(None,), chunks=(300_000_000,), dtype="f4")


def in_another_file(weights):
    weights.create_dataset("outside", shape=(4,), dtype="u1", external=[("/etc/hostname", 0, 4)])


def link_to_another_file(weights):
    weights["outside"] = h5py.ExternalLink("other.h5", "/values")


def texts(weights):
    weights.create_dataset("texts", data=["a", "b"], dtype=h5py.string_dtype())


def test_a_model_is_opened_whether_or_not_its_file_is_compressed(written):
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        assert load_model(written(method=method)).output_shape == (None, 3)


@pytest.mark.parametrize("name", [*MEMBERS, "assets/more"])
def test_members_that_inflate_are_refused_before_they_are_read(name, written):
    path = written({name: bytes(150_000_000)}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(ValueError, match=r"its members would take 150\.0 MB.* the limit .* 0\.\d MB is 10\d"):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (declare, r"its weights would take 3\.6 GB"),
        (declare_compressed, r"its weights would take 3\.6 GB"),
        (one_huge_chunk, r"its weights would take 1\.2 GB"),
        (in_another_file, "'outside' lies in another file"),
        (link_to_another_file, "'outside' is a link to another place or file"),
        (texts, "'texts' is not of numbers"),
    ],
)
def test_weights_of_impossible_size_or_from_elsewhere_are_refused(change, reason, members, written, tmp_path):
    weights = weights_with(members, change)
    with pytest.raises(ValueError, match=reason):
        load_model(written({"model.weights.h5": weights}))
    (tmp_path / "alone.weights.h5").write_bytes(weights)
    with pytest.raises(ValueError, match=reason):
        check_hdf5_file(tmp_path / "alone.weights.h5")


def test_a_layer_of_impossible_size_is_refused_before_it_is_built(members, written):
    config = members["config.json"].replace(b'"units": 3', b'"units": 3000000000')
    with pytest.raises(ValueError, match="its layers would take more than"):
        load_model(written({"config.json": config}))
    assert load_model(written()).count_params() == 15  # afterwards all is as before
    assert keras.Variable(np.zeros(3)).shape == (3,)


@pytest.mark.parametrize(
    "config", ["[" * 100_000, "[1, 2]", "{", json.dumps({"module": "os", "class_name": "system"})]
)
def test_another_configuration_is_an_error(config, written):
    with pytest.raises(Exception) as caught:  # noqa: PT011
        load_model(written({"config.json": config}))
    assert "\n" not in reason_of(caught.value)


def test_code_in_a_model_is_refused_and_never_runs(tmp_path):
    trace = tmp_path / "it_ran"
    run = eval(f"lambda x: (open({str(trace)!r}, 'w').close(), x)[1]")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(run, output_shape=(4,))])
    model.save(tmp_path / "model.keras")
    trace.unlink(missing_ok=True)
    with pytest.raises(ValueError, match="Lambda"):
        load_model(tmp_path / "model.keras")
    assert not trace.exists()


def test_an_archive_without_weights_or_with_two_of_a_name_is_refused(members, written):
    path = written()
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ValueError, match="two of its members have the same name"):
        load_model(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", members["config.json"])
        archive.writestr("model.weights.npz", b"")
    with pytest.raises(ValueError, match=r"it has no model\.weights\.h5"):
        load_model(path)


def test_another_format_is_refused(tmp_path):
    (tmp_path / "model.pickle").write_bytes(b"")
    with pytest.raises(ValueError, match=r"expected a \.keras file"):
        load_model(tmp_path / "model.pickle")


def test_the_limit_never_falls_below_the_size_of_a_usual_network():
    assert most_bytes(0) == model_files.ALLOWANCE
    assert most_bytes(10**8) >= 10**9
    assert most_bytes(10**12) == model_files.MOST
