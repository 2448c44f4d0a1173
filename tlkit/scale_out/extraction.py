"""The features of a folder into shards: one call, which begins a run or goes on with it."""

import shutil
import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
from tqdm import tqdm

from tlkit._internal import outputs
from tlkit._internal.cache import atomic
from tlkit.backbones import engines
from tlkit.errors import DataError, OutputError, TlkitError, TlkitWarning, UnknownNameError
from tlkit.models import pooled
from tlkit.scale_out import on_ray, plan, shards
from tlkit.scale_out.plan import Listing, Plan
from tlkit.scale_out.shards import Outcome
from tlkit.scale_out.worker import Job, Worker, in_this_process

ENGINES = ("local", "ray")
UNREADABLE = "_unreadable.txt"
UNREADABLE_LIMIT = 0.1


@dataclass(frozen=True)
class Summary:
    """What a run left behind.

    Attributes:
        out: folder of the shards.
        images: with features.
        width: number of features of each.
        class_names: in the order of the labels; empty where the folder has no classes.
        shards: how many there are.
        made: how many of them by this run.
        unreadable: "name: reason" of each image that was left out; also in `_unreadable.txt`.
        seconds: of this run.
    """

    out: Path
    images: int
    width: int
    class_names: list[str]
    shards: int
    made: int
    unreadable: list[str]
    seconds: float


def extract(
    folder: str | Path,
    out: str | Path,
    backbone: keras.Model,
    *,
    engine: str = "local",
    shard_size: int = 1000,
    workers: int | None = None,
    address: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Summary:
    """Write the features of all images of a folder into Parquet files, `shard_size` images in each.

    Only one shard is in memory at a time, in each worker. After a stop, a kill or a failure the same call
    makes the shards that are missing or damaged, and leaves the others as they are. One run at a time may
    write into a folder.

    Args:
        folder: one sub-folder a class, as for `tlkit.load`; or images that lie in it as they like, which
            then have no classes.
        out: folder of the shards.
        backbone: raw images `(n, size, size, 3)` to a feature map or features, such as `tlkit.load_backbone`
            makes.
        engine: `"local"`, this process; or `"ray"`, see `tlkit.scale_out.on_ray`.
        shard_size: images in a shard, at least 1.
        workers, address: of the engine `"ray"`.
        overwrite: begin anew, whatever lies in `out`.
        progress: show a progress bar.

    Returns:
        What lies in `out` now. Read it with `tlkit.scale_out.read`.

    Warns:
        TlkitWarning: images were left out, since they are unreadable or outside the classes' folders; or
            there are no classes.

    Raises:
        DataError: there are no images, or more than 10 % of them are unreadable.
        OutputError: `out` holds something else, or features of other images or of other settings; or it
            cannot be written to.
        TlkitError: the network takes no square images of one size; Ray or pyarrow is missing or failed.

    >>> import tempfile, tlkit
    >>> from PIL import Image
    >>> room = Path(tempfile.mkdtemp())
    >>> for name in ("cat", "dog"):
    ...     (room / "photos" / name).mkdir(parents=True)
    ...     Image.new("RGB", (40, 30), "teal").save(room / "photos" / name / "1.png")
    >>> done = extract(room / "photos", room / "features", tlkit.load_backbone("LeNet", weights=None))
    >>> done.images, done.width, done.shards, done.class_names
    (2, 100, 1, ['cat', 'dog'])
    """
    start = time.perf_counter()
    folder, out = Path(folder).expanduser(), Path(out).expanduser()
    make = _engine(engine, workers, address)
    size = _image_size(backbone)
    if shard_size < 1:
        raise TlkitError(f"shard_size={shard_size} was given; expected at least 1, such as 1000.")
    if out.resolve().is_relative_to(folder.resolve()):
        raise OutputError(f"{out} lies within the images of {folder}. Choose a folder beside them.")
    known = None if overwrite else plan.load(out)
    if known is None:
        outputs.prepare(out, overwrite)
    images, network = plan.listing(folder), pooled(backbone)
    wanted = Plan(
        backbone=backbone.name,
        weights=engines.fingerprint(network),
        image_size=size,
        width=network.output_shape[-1],
        shard_size=shard_size,
        images=len(images.names),
        size=images.size,
        checksum=plan.checksum(images.names),
        class_names=images.class_names,
    )
    with outputs.written_whole(out):
        plan.adopt(out, wanted, known)
        for old in [*shards.files(out), out / UNREADABLE] if known is None else ():
            old.unlink(missing_ok=True)
    outcomes = _finished(out, wanted, images.names, progress)
    jobs = [_job(wanted, images, shard) for shard in range(wanted.shards) if shard not in outcomes]
    worker = Worker(network, folder.resolve(), out.resolve(), wanted)
    with closing(make(worker, jobs)) as made:
        _gather(made, outcomes, wanted, progress)
    unreadable = [str(each) for shard in sorted(outcomes) for each in outcomes[shard].unreadable]
    _report(out, unreadable, wanted.images)
    for left in out.glob(".writing-*"):  # of runs that were killed
        shutil.rmtree(left, ignore_errors=True)
    return Summary(
        out,
        wanted.images - len(unreadable),
        wanted.width,
        wanted.class_names,
        wanted.shards,
        len(jobs),
        unreadable,
        time.perf_counter() - start,
    )


def _engine(
    name: str, workers: int | None, address: str | None
) -> Callable[[Worker, list[Job]], Generator[Outcome, None, None]]:
    """Return the engine, and refuse before any work where something that it needs is missing."""
    if name not in ENGINES:
        raise UnknownNameError("engine", name, ENGINES)
    shards.parquet()
    if name == "ray":
        on_ray.ray_module()
        return partial(on_ray.on_ray, workers=workers, address=address)
    if workers is not None or address is not None:
        raise TlkitError("workers and address are of the engine 'ray'; 'local' is this process alone.")
    return in_this_process


def _image_size(backbone: keras.Model) -> int:
    height, width, channels = backbone.input_shape[1:]
    if height is None or height != width or channels != 3:
        raise TlkitError(
            f"{backbone.name!r} takes images {(height, width, channels)}; expected squares of one size in "
            "RGB, such as tlkit.load_backbone(name, image_size=224) takes."
        )
    return height


def _finished(out: Path, wanted: Plan, names: list[str], progress: bool) -> dict[int, Outcome]:
    there = [shard for shard in range(wanted.shards) if shards.file(out, shard).exists()]
    bar = tqdm(there, desc="checking what is there", unit=" shards", disable=not progress or not there)
    found = (shards.finished(out, wanted, shard, names[wanted.rows(shard)]) for shard in bar)
    return {outcome.shard: outcome for outcome in found if outcome is not None}


def _job(wanted: Plan, images: Listing, shard: int) -> Job:
    rows = wanted.rows(shard)
    return Job(shard, images.names[rows], None if images.classes is None else images.classes[rows])


def _gather(made: Iterator[Outcome], outcomes: dict[int, Outcome], wanted: Plan, progress: bool) -> None:
    """Add to the outcomes what is made, until all is or too many images are unreadable."""
    seen = sum(map(len, outcomes.values()))
    unreadable = sum(len(outcome.unreadable) for outcome in outcomes.values())
    with tqdm(
        total=wanted.images, initial=seen, desc="features", unit=" images", disable=not progress
    ) as bar:
        while len(outcomes) < wanted.shards and unreadable <= UNREADABLE_LIMIT * wanted.images:
            outcome = next(made)
            outcomes[outcome.shard] = outcome
            unreadable += len(outcome.unreadable)
            bar.update(len(outcome))


def _report(out: Path, unreadable: list[str], images: int) -> None:
    """List the images that were left out in a file, and refuse where they are many."""
    if not unreadable:
        return
    with outputs.written_whole(out), atomic(out / UNREADABLE) as path:
        path.write_text("\n".join([*unreadable, ""]), "utf-8")
    message = (
        f"{len(unreadable)} of {images:,} images could not be read: {'; '.join(unreadable[:3])}"
        f"{'; ...' if len(unreadable) > 3 else ''} (all: {out / UNREADABLE})."
    )
    if len(unreadable) > UNREADABLE_LIMIT * images:
        raise DataError(
            f"{message} That is more than {UNREADABLE_LIMIT:.0%}: copy the folder again from where it came, "
            "or remove these files; then begin with --overwrite."
        )
    warnings.warn(f"{message} They are left out.", TlkitWarning, stacklevel=3)
