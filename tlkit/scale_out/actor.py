"""A worker in a process of Ray's.

Nothing of tlkit is imported with this file: what counts the cores at import would count those of others.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlkit.scale_out.shards import Outcome
    from tlkit.scale_out.worker import Job, Worker


class Actor:
    """Takes its cores, loads the network with the first shard, and makes one shard after the other.

    Args:
        first, cores: the place of its cores among those of the machine, and how many they are. Linux alone
            can bind a process to them; the decoder, OpenVINO and TensorFlow then start as many threads.
        backend: Keras's.
    """

    def __init__(self, first: int, cores: int, backend: str) -> None:
        if hasattr(os, "sched_setaffinity"):
            here = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {here[place % len(here)] for place in range(first, first + cores)})
        os.environ["KERAS_BACKEND"] = backend
        from tlkit._internal.keras_import import import_keras

        import_keras()
        self.worker: Worker | None = None

    def make(self, loaded: list[Any], job: Job) -> Outcome:
        """Make a shard; `loaded` holds where Ray has put the `Worker`."""
        if self.worker is None:
            import ray

            self.worker = ray.get(loaded[0])
        return self.worker.make(job)
