"""A Ray actor: one worker process that makes shards.

This file imports nothing of tlkit at its top. Some modules count the available cores when they are imported,
and the actor must first restrict its process to its own cores.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlkit.scale_out.shards import Outcome
    from tlkit.scale_out.worker import Job, Worker


class Actor:
    """A worker process that binds itself to some cores, loads the network once, and makes shards.

    Only Linux can bind a process to cores. The image decoder, OpenVINO and TensorFlow then start one thread
    for each of these cores.

    Args:
        first: index of its first core on the machine.
        cores: number of its cores.
        backend: name of the Keras backend.
    """

    def __init__(self, first: int, cores: int, backend: str) -> None:
        if hasattr(os, "sched_setaffinity"):
            available = sorted(os.sched_getaffinity(0))
            own = {available[index % len(available)] for index in range(first, first + cores)}
            os.sched_setaffinity(0, own)
        os.environ["KERAS_BACKEND"] = backend
        from tlkit._internal.keras_import import import_keras

        import_keras()
        self.worker: Worker | None = None

    def make(self, loaded: list[Any], job: Job) -> Outcome:
        """Make one shard; `loaded` holds a Ray reference to the `Worker`, which the first call fetches."""
        if self.worker is None:
            import ray

            self.worker = ray.get(loaded[0])
        return self.worker.make(job)
