"""A worker in a process of Ray's.

Nothing of tlkit is imported with this file: what counts the cores at import would count those of others.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlkit.scale_out.shards import Outcome
    from tlkit.scale_out.worker import Job


class Actor:
    """Takes its cores, then loads the network once, then makes shards.

    Args:
        worker: where Ray has put the `Worker`; in a list, so that it arrives when it is asked for.
        first, cores: the place of its cores among those of the machine, and how many they are. Linux alone
            can bind a process to them; the decoder, OpenVINO and TensorFlow then start as many threads.
        backend: Keras's.
    """

    def __init__(self, worker: list[Any], first: int, cores: int, backend: str) -> None:
        if hasattr(os, "sched_setaffinity"):
            here = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {here[place % len(here)] for place in range(first, first + cores)})
        os.environ["KERAS_BACKEND"] = backend
        import ray

        from tlkit.quiet import import_keras

        import_keras()
        self.worker = ray.get(worker[0])

    def make(self, job: Job) -> Outcome:
        """Make one shard."""
        return self.worker.make(job)
