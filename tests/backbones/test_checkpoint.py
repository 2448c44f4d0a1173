"""A checkpoint is read without running code from it."""

import io
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from tlkit.backbones.checkpoint import read_checkpoint
from tlkit.backbones.registry import BACKBONES
from tlkit.errors import WeightsError

MAGIC, VERSION, SYSTEM = 0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}


class Global:
    """An object that is pickled as a bare name, like a class or function of a module."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Storage:
    def __init__(self, values: np.ndarray) -> None:
        self.values = values


class Tensor:
    """An object that is pickled as PyTorch pickles a tensor."""

    def __init__(self, storage, offset, shape, strides):
        self.arguments = (storage, offset, shape, strides, False, OrderedDict())


class TorchPickler(pickle._Pickler):
    """A pickler that writes the format of `torch.save` without PyTorch."""

    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            return ("storage", Global("torch", "FloatStorage"), "7", "cpu", obj.values.size)
        return None

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Global):
            self.write(b"c" + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Tensor):
            self.save(Global("torch._utils", "_rebuild_tensor_v2"))
            self.save(obj.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def pickled(obj) -> bytes:
    file = io.BytesIO()
    TorchPickler(file, 2).dump(obj)
    return file.getvalue()


def legacy(content, values=None) -> bytes:
    parts = b"".join(map(pickled, (MAGIC, VERSION, SYSTEM, content)))
    if values is None:
        return parts + pickled([])
    return parts + pickled(["7"]) + values.size.to_bytes(8, "little") + values.astype("<f4").tobytes()


@pytest.fixture
def written(tmp_path):
    """Write bytes to a file, and return its path."""

    def write(content: bytes):
        path = tmp_path / "weights.pth"
        path.write_bytes(content)
        return path

    return write


VALUES = np.arange(12, dtype=np.float32)


def test_views_of_one_storage_are_read_with_their_offsets_and_strides(written):
    storage = Storage(VALUES)
    content = OrderedDict(a=Tensor(storage, 0, (3, 4), (4, 1)), b=Tensor(storage, 2, (2, 3), (1, 2)))
    tensors = read_checkpoint(written(legacy(content, VALUES)))
    np.testing.assert_array_equal(tensors["a"], VALUES.reshape(3, 4))
    np.testing.assert_array_equal(tensors["b"], [[2, 4, 6], [3, 5, 7]])


def test_the_newer_zip_format_is_read_too(written):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/data.pkl", pickled(OrderedDict(a=Tensor(Storage(VALUES), 0, (12,), (1,)))))
        archive.writestr("model/data/7", VALUES.tobytes())
    np.testing.assert_array_equal(read_checkpoint(written(file.getvalue()))["a"], VALUES)


class Malicious:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return exec, (f"open({str(self.trace)!r}, 'w').close()",)


def test_foreign_code_is_refused_and_never_runs(written, tmp_path):
    trace = tmp_path / "it_ran"
    content = legacy(OrderedDict(a=Malicious(trace)))
    with pytest.raises(WeightsError, match=r"builtins?.*exec, which is not a tensor; nothing was run"):
        read_checkpoint(written(content))
    assert not trace.exists()
    pickle.loads(pickled(Malicious(trace)))  # an unrestricted unpickler does run the same bytes
    assert trace.exists()


@pytest.mark.parametrize("name", ["load", "BFloat16Storage"])
def test_the_error_of_another_name_of_torch_contains_the_name(name, written):
    with pytest.raises(WeightsError, match=rf"torch\.{name}"):
        read_checkpoint(written(legacy(OrderedDict(a=Global("torch", name)))))


@pytest.mark.parametrize(
    ("offset", "shape", "strides"), [(0, (13,), (1,)), (9, (2, 2), (4, 1)), (0, (2,), (-1,))]
)
def test_a_tensor_outside_its_storage_is_refused(offset, shape, strides, written):
    content = legacy(OrderedDict(a=Tensor(Storage(VALUES), offset, shape, strides)), VALUES)
    with pytest.raises(WeightsError, match="outside its storage"):
        read_checkpoint(written(content))


@pytest.mark.parametrize("fraction", [0.0, 0.0001, 0.5, 0.999])
def test_a_truncated_file_is_refused(fraction, written):
    content = BACKBONES.find("EfficientNetLite0").weights_path.read_bytes()
    with pytest.raises(WeightsError, match="not a complete PyTorch checkpoint"):
        read_checkpoint(written(content[: int(fraction * len(content))]))


@pytest.mark.parametrize("content", [b"garbage", b"PK\x03\x04garbage", pickle.dumps([1, 2]), legacy([1, 2])])
def test_another_format_is_refused(content, written):
    with pytest.raises(WeightsError):
        read_checkpoint(written(content))


def test_an_altered_file_is_refused(written):
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        read_checkpoint(written(legacy(OrderedDict())), sha256="0" * 64)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"nowhere\.pth"):
        read_checkpoint(tmp_path / "nowhere.pth")


def claimed(size):
    """A storage that claims a number of values that are not there."""
    return Storage(np.broadcast_to(np.float32(0), (size,)))


def test_a_small_file_cannot_claim_large_tensors(written):
    storage = Storage(VALUES)
    one = OrderedDict(a=Tensor(storage, 0, (30_000, 30_000), (0, 0)))
    many = OrderedDict((f"t{i}", Tensor(storage, 0, (1000, 1000), (0, 0))) for i in range(100))
    for content in (one, many):
        with pytest.raises(WeightsError, match=r"its tensors would take .* the limit for a file of 0\.0 MB"):
            read_checkpoint(written(legacy(content, VALUES)))
    with pytest.raises(WeightsError, match="not a complete PyTorch checkpoint"):
        read_checkpoint(written(legacy(OrderedDict(a=Tensor(claimed(10**12), 0, (9,), (1,))), VALUES)))


def test_members_that_inflate_are_refused(written):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        tensor = Tensor(claimed(50_000_000), 0, (50_000_000,), (1,))
        archive.writestr("model/data.pkl", pickled(OrderedDict(a=tensor)))
        archive.writestr("model/data/7", bytes(200_000_000))
    with pytest.raises(WeightsError, match=r"its members would take 200\.0 MB"):
        read_checkpoint(written(file.getvalue()))


START = b"".join(map(pickled, (MAGIC, VERSION, SYSTEM)))


@pytest.mark.parametrize(
    "opcodes",
    [
        b"}r\xff\xff\xff\x7f.",  # a memo of two thousand million places
        b"})" + b"\x85" * 500_000 + b"K\x01s.",  # a key whose hash overflows the C stack
        b"]" * 500_000 + b"a" * 499_999 + b".",
        b"\x8b\xff\xff\xff\x7f\xff.",  # an integer of 2 GB
        b"\x96" + (2**31).to_bytes(8, "little") + b"x.",  # a byte array of 2 GB
        b"I" + b"9" * 100_000 + b"\n.",
        b"]q\x00(" + b"h\x00" * 200_001 + b"e.",
        b"ctorch\nFloatStorage\n)R.",
        b"ccollections\nOrderedDict\n](K\x01K\x02\x86e\x85R.",
        b"a.",
        b".",
        b"}",
    ],
)
def test_a_pickle_of_anything_but_tensors_is_refused(opcodes, written):
    with pytest.raises(WeightsError, match="not a complete PyTorch checkpoint") as caught:
        read_checkpoint(written(START + b"\x80\x02" + opcodes))
    assert "\n" not in str(caught.value)


def test_attributes_of_a_dictionary_change_no_type_of_numbers(written):
    content = OrderedDict(a=Tensor(Storage(VALUES), 0, (12,), (1,)))
    content._metadata = OrderedDict([("", {"version": 1})])
    np.testing.assert_array_equal(read_checkpoint(written(legacy(content, VALUES)))["a"], VALUES)
    state = b"ctorch\nFloatStorage\n(K\x03X\x01\x00\x00\x00>NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb."
    with pytest.raises(WeightsError):
        read_checkpoint(written(START + b"\x80\x02" + state))
    assert np.dtype("<f4").byteorder in "=<"
