"""The allocator keeps freed memory: only where there is glibc, and without any error elsewhere."""

import ctypes
import sys

from tlkit._internal.allocator import keep_freed_memory


class Library:
    """A C library that accepts these options and records them."""

    def __init__(self):
        self.options = {}

    def mallopt(self, option, value):
        self.options[option] = value


def test_the_options_fit_into_a_c_int(monkeypatch):
    library = Library()
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    keep_freed_memory()
    assert set(library.options) == {-1, -2, -3}
    assert all(0 < value < 2**31 for value in library.options.values())  # a larger one wraps to 0 or below


def test_other_systems_and_c_libraries_are_left_alone(monkeypatch):
    library, opened = Library(), []
    monkeypatch.setattr(ctypes, "CDLL", lambda name: opened.append(name) or library)
    monkeypatch.setattr(sys, "platform", "darwin")
    keep_freed_memory()
    assert not opened
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delattr(Library, "mallopt")  # musl has none
    keep_freed_memory()
    assert opened
    assert not library.options
