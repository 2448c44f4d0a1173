"""Settings of the memory allocator that make training on a CPU faster."""

import ctypes
import sys

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD = -1, -2, -3  # options of mallopt in glibc


def keep_freed_memory() -> None:
    """Let the process keep the memory that it frees, where the C library is glibc; elsewhere do nothing.

    Each step of a training frees as much memory as the next one needs. By default glibc returns it to the
    system and requests it again. This took a sixth of the time of a step (EfficientNetLite0, 16 images of 224
    pixels, two cores); the peak memory was the same.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
        mallopt(TOP_PAD, 64 * 2**20)
        mallopt(MMAP_THRESHOLD, 32 * 2**20)
