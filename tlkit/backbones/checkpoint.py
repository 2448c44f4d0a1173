"""Read the tensors of a PyTorch checkpoint without PyTorch, and without running code from the file.

A `.pth` file is a pickle, and a pickle can call any function that it names, and build objects of any size or
depth. The interpreter here knows only the opcodes of a dictionary of tensors. It allows an ordered
dictionary, the storage types, and the one function that describes a tensor, and refuses every other name
before anything is called. Sizes are compared with `tlkit._internal.model_files.most_bytes` before tensors
are built.
"""

import hashlib
import io
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tlkit._internal.model_files import MOST, check_archive, check_claim, one_line, reason_of
from tlkit.errors import WeightsError

_MAGIC = 0x1950A86A20F9469CFC6C
_MOST_OPCODES = 200_000  # of one pickle; a tensor takes about 40

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

    @property
    def nbytes(self) -> int:
        """The size of a copy in bytes; with strides of 0 it may be larger than the storage."""
        return int(np.prod([*self.shape, self.storage.dtype.itemsize], dtype=object))

    def array(self, blocks: dict[str, memoryview]) -> np.ndarray:
        """Copy the values out of the storage; raise ValueError instead of reading outside it."""
        values = np.frombuffer(blocks[self.storage.key], self.storage.dtype, self.storage.size)
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        if last >= len(values) and 0 not in self.shape:
            raise ValueError("a tensor lies outside its storage")
        steps = [step * values.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, steps).copy()


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage) or not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise ValueError("a tensor has no storage, shape and strides")
    if not all(isinstance(each, int) and each >= 0 for each in (offset, *shape, *strides)):
        raise ValueError("a tensor lies outside its storage, or its shape is no list of sizes")
    return _Tensor(storage, offset, shape, strides)


def _storage(pid: Any) -> _Storage:
    kind, dtype, key, _location, size, *view = pid
    if kind != "storage" or any(view):
        raise ValueError("a storage has a format from before 2017")
    if not isinstance(dtype, np.dtype) or not isinstance(key, str) or not isinstance(size, int) or size < 0:
        raise ValueError("a storage has no type, key and size")
    return _Storage(key, dtype, size)


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    **{("torch", name): np.dtype(code) for name, code in _STORAGES.items()},
}


class _Stack:
    """The stack and the memo of a pickle, with one method for each kind of opcode.

    Python's own unpickler accepts far more than tensors need: indices and lengths of gigabytes, and nested
    keys whose hash overflows the C stack.
    """

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.values.append(value)

    def above_mark(self) -> list[Any]:
        start = self.marks.pop()
        found, self.values[start:] = self.values[start:], []
        return found

    def top(self, count: int) -> list[Any]:
        if count > len(self.values):
            raise ValueError("its pickle takes more values than there are")
        start = len(self.values) - count
        found, self.values[start:] = self.values[start:], []
        return found

    def fill(self, items: list[Any]) -> None:
        target = self.values[-1]
        if isinstance(target, list):
            target += items
            return
        if not isinstance(target, dict) or not all(isinstance(key, str) for key in items[::2]):
            raise ValueError("it has a dictionary whose keys are not names")
        target.update(zip(items[::2], items[1::2], strict=True))

    def find(self, module: str, name: str) -> None:
        if (module, name) not in _ALLOWED:
            raise WeightsError(
                f"The checkpoint asks for {one_line(f'{module}.{name}')}, which is not a tensor; nothing was "
                "run. Save the tensors alone: torch.save(model.state_dict(), path)."
            )
        self.push(_ALLOWED[module, name])

    def call(self) -> None:
        function, arguments = self.top(2)
        if function is OrderedDict and arguments == ():
            self.push(OrderedDict())
        elif function is _tensor and isinstance(arguments, tuple):
            self.push(_tensor(*arguments))
        else:
            raise ValueError("it calls a type of numbers, or a dictionary with values")


_OPCODES: dict[str, Callable[[_Stack, Any], object]] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda stack, argument: None),
    **dict.fromkeys(
        ("NONE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE"),
        _Stack.push,
    ),
    "NEWTRUE": lambda stack, _: stack.push(True),
    "NEWFALSE": lambda stack, _: stack.push(False),
    "EMPTY_TUPLE": lambda stack, _: stack.push(()),
    "EMPTY_LIST": lambda stack, _: stack.push([]),
    "EMPTY_DICT": lambda stack, _: stack.push({}),
    "MARK": lambda stack, _: stack.marks.append(len(stack.values)),
    "TUPLE": lambda stack, _: stack.push(tuple(stack.above_mark())),
    "TUPLE1": lambda stack, _: stack.push(tuple(stack.top(1))),
    "TUPLE2": lambda stack, _: stack.push(tuple(stack.top(2))),
    "TUPLE3": lambda stack, _: stack.push(tuple(stack.top(3))),
    "APPEND": lambda stack, _: stack.fill(stack.top(1)),
    "APPENDS": lambda stack, _: stack.fill(stack.above_mark()),
    "SETITEM": lambda stack, _: stack.fill(stack.top(2)),
    "SETITEMS": lambda stack, _: stack.fill(stack.above_mark()),
    **dict.fromkeys(
        ("BINPUT", "LONG_BINPUT"), lambda stack, place: stack.memo.update({place: stack.values[-1]})
    ),
    "MEMOIZE": lambda stack, _: stack.memo.update({len(stack.memo): stack.values[-1]}),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), lambda stack, place: stack.push(stack.memo[place])),
    "GLOBAL": lambda stack, names: stack.find(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda stack, _: stack.find(*map(str, stack.top(2))),
    "BINPERSID": lambda stack, _: stack.push(_storage(*stack.top(1))),
    "REDUCE": lambda stack, _: stack.call(),
    "BUILD": lambda stack, _: stack.top(1),  # attributes of a dictionary, such as versions of layers
}


def _unpickled(file: io.BytesIO) -> Any:
    """Read one pickle of dictionaries, lists, numbers, texts and descriptions of tensors, and nothing else.

    Raises:
        WeightsError: it names anything else.
        Exception: it is damaged, has other opcodes, or too many.
    """
    stack = _Stack()
    for count, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if opcode.name == "STOP":
            return stack.values.pop()
        if opcode.name not in _OPCODES or count >= _MOST_OPCODES:
            raise ValueError("its pickle is longer or more complex than a dictionary of tensors")
        _OPCODES[opcode.name](stack, argument)
    raise ValueError("its pickle does not end")


def read_checkpoint(path: Path, *, sha256: str | None = None) -> dict[str, np.ndarray]:
    """Read the tensors of a PyTorch checkpoint, in the legacy or the zip format.

    Args:
        path: a `.pth` file, written by `torch.save(model.state_dict(), path)`.
        sha256: the expected checksum of the file.

    Returns:
        The tensors by name, in the order of the file, with PyTorch's axes.

    Raises:
        WeightsError: the file is missing, truncated or altered, contains anything but tensors, or claims more
            memory than 20 times its size plus 100 MB, or than 4 GB.
    """
    if not path.is_file():
        raise WeightsError(f"There is no weights file {path}. Check the path.")
    size = path.stat().st_size
    if size > MOST:
        raise WeightsError(
            f"{path} has {size / 1e9:.1f} GB; the limit is {MOST / 1e9:.0f} GB. Check the file."
        )
    content = path.read_bytes()
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise WeightsError(
            f"{path} is not the published file: its SHA-256 differs. Install its package again."
        )
    try:
        tensors, blocks = (_read_zip if content[:2] == b"PK" else _read_legacy)(content)
        check_claim(sum(tensor.nbytes for tensor in tensors.values()), size, "its tensors")
        return {name: tensor.array(blocks) for name, tensor in tensors.items()}
    except WeightsError:
        raise
    except Exception as error:  # a broken pickle can fail in any way
        raise WeightsError(
            f"{path} is not a complete PyTorch checkpoint of tensors ({type(error).__name__}: "
            f"{reason_of(error)}). Copy the file again, or save it again with torch.save(model.state_dict(), "
            "path)."
        ) from error


def _read_legacy(content: bytes) -> tuple[dict[str, _Tensor], dict[str, memoryview]]:
    """Read the magic number, version, system, tensors and storage order; then each storage and its length."""
    file, whole = io.BytesIO(content), memoryview(content)
    magic, _version, _system = (_unpickled(file) for _ in range(3))
    if magic != _MAGIC:
        raise ValueError("its magic number is not that of a checkpoint")
    tensors = _unpickled(file)
    sizes = {tensor.storage.key: tensor.storage.dtype.itemsize for tensor in tensors.values()}
    blocks = {}
    for key in _unpickled(file):
        length = int.from_bytes(file.read(8), "little") * sizes[key]
        blocks[key] = whole[file.tell() :][:length]
        file.seek(min(file.tell() + length, len(content)))
    return tensors, blocks


def _read_zip(content: bytes) -> tuple[dict[str, _Tensor], dict[str, memoryview]]:
    """Read the tensors from `<name>/data.pkl`, and each storage from `<name>/data/<key>`."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        check_archive(archive, len(content))
        pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        tensors = _unpickled(io.BytesIO(archive.read(pickled)))
        keys = {tensor.storage.key for tensor in tensors.values()}
        folder = pickled.removesuffix(".pkl")
        return tensors, {key: memoryview(archive.read(f"{folder}/{key}")) for key in keys}
