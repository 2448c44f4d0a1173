"""Make one shard: decode its images, run the network, and write the features."""

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
    """A shard to make: its number, the names of its images, and their classes (None if there are none)."""

    shard: int
    names: Sequence[str]
    classes: Sequence[str] | None


@dataclass(frozen=True)
class Worker:
    """Makes shards with a network that is in memory.

    Attributes:
        network: maps raw images `(n, size, size, 3)`, values 0 to 255, to features `(n, d)`.
        folder: folder of the images.
        out: folder of the shards.
        plan: of the run.
    """

    network: keras.Model
    folder: Path
    out: Path
    plan: Plan

    def make(self, job: Job) -> Outcome:
        """Make one shard, with the pixels of its images in memory.

        Raises:
            DataError: image files of the plan are missing.
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
        # a missing file is not recorded as unreadable, because the disk may only be disconnected
        if missing := [paths[each.row] for each in unreadable if not paths[each.row].is_file()]:
            raise DataError(
                f"{len(missing)} of the images are missing on {platform.node()}, such as {missing[0]}. Check "
                "the disk, then run the command again. On Ray, every machine needs the images under this "
                "path."
            )
        features = np.empty((0, self.plan.width), "float32")
        if kept and pixels is not None:
            features = engines.infer(self.network, pixels[kept] if unreadable else pixels)
        return shards.write_shard(
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
    """Make one shard after the other in this process, on all cores or on the accelerator of this machine."""
    for job in jobs:
        yield worker.make(job)
