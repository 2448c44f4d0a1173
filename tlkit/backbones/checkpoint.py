"""Read the tensors of a PyTorch checkpoint without PyTorch, and without running code from the file.

A `.pth` file is a pickle, and a pickle can call any function that it names. The unpickler here allows only
an ordered dictionary, the storage types, and the one function that describes a tensor. It refuses every
other name before anything is called.
"""

import hashlib
import io
import math
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tlkit.errors import WeightsError

_MAGIC = 0x1950A86A20F9469CFC6C

_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


class _Storage(NamedTuple):
    """A block of numbers that the file stores outside the pickle."""

    key: str
    dtype: np.dtype
    size: int


class _Tensor(NamedTuple):
    """A view of a storage; the remaining arguments of PyTorch, such as `requires_grad`, are not needed."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, blocks: dict[str, bytes]) -> np.ndarray:
        """Copy the values out of the storage; raise ValueError instead of reading outside it."""
        values = np.frombuffer(blocks[self.storage.key], self.storage.dtype, self.storage.size)
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        empty = math.prod(self.shape) == 0
        if min((self.offset, *self.shape, *self.strides)) < 0 or (last >= len(values) and not empty):
            raise ValueError("a tensor lies outside its storage")
        steps = [step * values.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, steps).copy()


def _tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    **{("torch", name): np.dtype(code) for name, code in _STORAGES.items()},
}


class _TensorUnpickler(pickle.Unpickler):
    """An unpickler that builds dictionaries of tensor descriptions, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise WeightsError(
                f"The checkpoint asks for {module}.{name}, which is not a tensor; nothing was run. "
                f"Save the tensors alone: torch.save(model.state_dict(), path)."
            )
        return _ALLOWED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _location, size, *view = pid
        if kind != "storage" or any(view):
            raise ValueError("a storage has a format from before 2017")
        return _Storage(key, dtype, size)


def read_checkpoint(path: Path, *, sha256: str | None = None) -> dict[str, np.ndarray]:
    """Read the tensors of a PyTorch checkpoint, in the legacy or the zip format.

    Args:
        path: a `.pth` file, written by `torch.save(model.state_dict(), path)`.
        sha256: the expected checksum of the file.

    Returns:
        The tensors by name, in the order of the file, with PyTorch's axes.

    Raises:
        WeightsError: the file is missing, truncated or altered, or contains anything but tensors.
    """
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}. Check the path.")
    content = path.read_bytes()
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise WeightsError(
            f"{path} is not the published file: its SHA-256 differs. Install its package again."
        )
    try:
        tensors, blocks = (_read_zip if content[:2] == b"PK" else _read_legacy)(content)
        return {name: tensor.array(blocks) for name, tensor in tensors.items()}
    except WeightsError:
        raise
    except Exception as error:  # a broken pickle can fail in any way
        raise WeightsError(
            f"{path} is not a complete PyTorch checkpoint of tensors ({type(error).__name__}: {error}). Copy "
            f"the file again, or save it again with torch.save(model.state_dict(), path)."
        ) from error


def _read_legacy(content: bytes) -> tuple[dict[str, _Tensor], dict[str, bytes]]:
    """Read the magic number, version, system, tensors and storage order; then each storage and its length."""
    file = io.BytesIO(content)
    magic, _version, _system = (_TensorUnpickler(file).load() for _ in range(3))
    if magic != _MAGIC:
        raise ValueError("its magic number is not that of a checkpoint")
    tensors = _TensorUnpickler(file).load()
    sizes = {tensor.storage.key: tensor.storage.dtype.itemsize for tensor in tensors.values()}
    blocks = {}
    for key in _TensorUnpickler(file).load():
        count = int.from_bytes(file.read(8), "little")
        blocks[key] = file.read(count * sizes[key])
    return tensors, blocks


def _read_zip(content: bytes) -> tuple[dict[str, _Tensor], dict[str, bytes]]:
    """Read the tensors from `<name>/data.pkl`, and each storage from `<name>/data/<key>`."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        tensors = _TensorUnpickler(io.BytesIO(archive.read(pickled))).load()
        keys = {tensor.storage.key for tensor in tensors.values()}
        folder = pickled.removesuffix(".pkl")
        return tensors, {key: archive.read(f"{folder}/{key}") for key in keys}
