"""What is done for one shard, wherever it is done: decode, run the network, write."""

import platform
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tlkit.backbones import engines
from tlkit.data.images import scan
from tlkit.errors import DataError
from tlkit.scale_out import shards
from tlkit.scale_out.plan import Plan
from tlkit.scale_out.shards import Outcome, Unreadable


@dataclass(frozen=True)
class Job:
    """A shard to be made: its number, the names of its images, and their classes where there are any."""

    shard: int
    names: Sequence[str]
    classes: Sequence[str] | None


@dataclass(frozen=True)
class Worker:
    """A network in memory, and from where to where it works.

    Attributes:
        network: raw images `(n, size, size, 3)` to features `(n, d)`.
        folder: of the images.
        out: folder of the shards.
        plan: theirs.
    """

    network: keras.Model
    folder: Path
    out: Path
    plan: Plan

    def make(self, job: Job) -> Outcome:
        """Make one shard; its pixels are the most that is in memory at a time.

        Raises:
            DataError: images have gone.
            OutputError: the shard cannot be written.
        """
        paths = [self.folder / name for name in job.names]
        pixels, outcomes = scan(paths, self.plan.image_size, keep=True)
        kept = [row for row, outcome in enumerate(outcomes) if isinstance(outcome, bytes)]
        unreadable = [
            Unreadable(row, job.names[row], str(outcome).removeprefix(f"{paths[row]}: "))
            for row, outcome in enumerate(outcomes)
            if isinstance(outcome, DataError)
        ]
        # a file that was listed and is not there would be unreadable for ever, and may be a disk that is away
        if gone := [paths[each.row] for each in unreadable if not paths[each.row].is_file()]:
            raise DataError(
                f"{len(gone)} of the images are not there on {platform.node()}, such as {gone[0]}. Look "
                "after the disk (on Ray, every machine needs the folder under this path) and run again."
            )
        features = np.empty((0, self.plan.width), "float32")
        if kept and pixels is not None:
            features = engines.infer(self.network, pixels[kept] if unreadable else pixels)
        return shards.write(
            self.out,
            self.plan,
            job.shard,
            [job.names[row] for row in kept],
            None if job.classes is None else [job.classes[row] for row in kept],
            [outcome for outcome in outcomes if isinstance(outcome, bytes)],
            features,
            unreadable,
        )


def in_this_process(worker: Worker, jobs: Iterable[Job]) -> Generator[Outcome, None, None]:
    """Make one shard after the other, each on all cores or on the accelerator of this machine."""
    for job in jobs:
        yield worker.make(job)
