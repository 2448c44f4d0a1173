"""Extract the features of a folder into shards: one function that starts a run or continues it."""

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
    """The result of an extraction.

    Attributes:
        out: folder of the shards.
        images: number of images with features.
        width: number of features of each image.
        class_names: in the order of the labels; empty if the folder has no classes.
        shards: number of shards.
        made: number of shards that this run computed.
        unreadable: "name: reason" of each image that was left out; also in `_unreadable.txt`.
        seconds: duration of this run.
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
    """Write the features of all images of a folder into Parquet files, with `shard_size` images in each.

    Each worker holds only one shard in memory. If a run is interrupted or fails, the same call computes the
    shards that are missing or damaged, and keeps the others. A second run into the same folder is refused.

    Args:
        folder: one sub-folder for each class, as for `tlkit.load`; or images in any arrangement, which then
            have no classes.
        out: folder of the shards.
        backbone: maps raw images `(n, size, size, 3)`, values 0 to 255, to a feature map or to features
            `(n, d)`, such as a model from `tlkit.load_backbone`.
        engine: `"local"` uses this process; `"ray"` uses a Ray cluster, see `tlkit.scale_out.on_ray`.
        shard_size: number of images in a shard, at least 1.
        workers: for the engine `"ray"`, see `tlkit.scale_out.on_ray.on_ray`.
        address: for the engine `"ray"`, see `tlkit.scale_out.on_ray.on_ray`.
        overwrite: start again, and delete the shards of earlier runs in `out`; other files are not touched.
        progress: show a progress bar.

    Returns:
        A summary of what `out` now holds. Read the features with `tlkit.scale_out.read`.

    Warns:
        TlkitWarning: images were left out, because they are unreadable or outside the class folders; or there
            are no classes.

    Raises:
        DataError: there are no images, or more than 10 % of them are unreadable.
        OutputError: `out` cannot be written to, is in use by another process, holds other files, or holds
            features of other images or with other settings; or, even with `overwrite`, a file of another
            program has a name that tlkit needs.
        TlkitError: the backbone does not take square RGB images of a fixed size, or Ray or pyarrow is missing
            or failed.

    >>> import tempfile, tlkit
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("cat", "dog"):
    ...     (folder / "photos" / name).mkdir(parents=True)
    ...     Image.new("RGB", (40, 30), "teal").save(folder / "photos" / name / "1.png")
    >>> summary = extract(folder / "photos", folder / "features", tlkit.load_backbone("LeNet", weights=None))
    >>> summary.images, summary.width, summary.shards, summary.class_names
    (2, 100, 1, ['cat', 'dog'])
    """
    folder, out = Path(folder).expanduser(), Path(out).expanduser()
    make = _engine(engine, workers, address)
    size = _image_size(backbone)
    if shard_size < 1:
        raise TlkitError(f"shard_size={shard_size} was given; expected at least 1, such as 1000.")
    if out.resolve().is_relative_to(folder.resolve()):
        raise OutputError(f"{out} is inside the folder of images, {folder}. Choose a folder outside it.")
    with outputs.claimed(out, overwrite=True):
        return _extract(folder, out, backbone, make, size, shard_size, overwrite, progress)


def _extract(
    folder: Path,
    out: Path,
    backbone: keras.Model,
    make: Callable[[Worker, list[Job]], Generator[Outcome, None, None]],
    size: int,
    shard_size: int,
    overwrite: bool,
    progress: bool,
) -> Summary:
    """Extract the features into a reserved folder; see `extract`."""
    start = time.perf_counter()
    earlier = None if overwrite else plan.read_plan(out)
    if earlier is not None and not shards.shard_paths(out):
        earlier, overwrite = None, True  # a run that failed before its first shard binds nobody
    images, network = plan.list_images(folder), pooled(backbone)
    current = Plan(
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
    if earlier is None:
        outputs.prepare(out, overwrite)
    replaced = _replaced(out, current, earlier)
    with outputs.written_whole(out):
        plan.write_or_compare(out, current, earlier)
        for old in replaced if earlier is None else ():
            old.unlink(missing_ok=True)
    outcomes = _finished(out, current, images.names, progress)
    jobs = [_job(current, images, shard) for shard in range(current.shards) if shard not in outcomes]
    worker = Worker(network, folder.resolve(), out.resolve(), current)
    with closing(make(worker, jobs)) as made:
        _gather(made, outcomes, current, progress)
    unreadable = [str(each) for shard in sorted(outcomes) for each in outcomes[shard].unreadable]
    _report(out, unreadable, current.images)
    return Summary(
        out,
        current.images - len(unreadable),
        current.width,
        current.class_names,
        current.shards,
        len(jobs),
        unreadable,
        time.perf_counter() - start,
    )


def _engine(
    name: str, workers: int | None, address: str | None
) -> Callable[[Worker, list[Job]], Generator[Outcome, None, None]]:
    """Return the engine, and raise before any work starts if it lacks something that it needs."""
    if name not in ENGINES:
        raise UnknownNameError("engine", name, ENGINES)
    shards.parquet()
    if name == "ray":
        on_ray.ray_module()
        return partial(on_ray.on_ray, workers=workers, address=address)
    if workers is not None or address is not None:
        raise TlkitError("workers and address need engine='ray'; the engine 'local' uses this process only.")
    return in_this_process


def _replaced(out: Path, current: Plan, earlier: Plan | None) -> list[Path]:
    """Return the files of earlier runs that this run replaces or deletes.

    Raises:
        OutputError: another program wrote a file that this run would have to replace.
    """
    had_plan = earlier is not None or ((out / plan.FILE).exists() and plan.can_be_replaced(out))
    foreign = [] if had_plan else [path for path in (out / plan.FILE, out / UNREADABLE) if path.exists()]
    ours = [out / UNREADABLE] if had_plan else []
    needed = {shards.shard_path(out, shard) for shard in range(current.shards)}
    for path in shards.shard_paths(out):
        written = shards.is_ours(path)
        if written or (written is None and had_plan):  # of an unreadable file, the plan has to tell
            ours.append(path)
        elif path in needed:
            foreign.append(path)
    if foreign:
        raise OutputError(
            f"{foreign[0]} was not written by tlkit features, which needs a file of this name. Move or "
            "rename it, or choose another --out."
        )
    return ours


def _image_size(backbone: keras.Model) -> int:
    height, width, channels = backbone.input_shape[1:]
    if height is None or height != width or channels != 3:
        raise TlkitError(
            f"{backbone.name!r} takes images of shape {(height, width, channels)}; expected square RGB "
            "images of a fixed size, as with tlkit.load_backbone(name, image_size=224)."
        )
    return height


def _finished(out: Path, current: Plan, names: list[str], progress: bool) -> dict[int, Outcome]:
    existing = [shard for shard in range(current.shards) if shards.shard_path(out, shard).exists()]
    bar = tqdm(existing, desc="checking shards", unit=" shards", disable=not progress or not existing)
    found = (shards.finished(out, current, shard, names[current.rows(shard)]) for shard in bar)
    return {outcome.shard: outcome for outcome in found if outcome is not None}


def _job(current: Plan, images: Listing, shard: int) -> Job:
    rows = current.rows(shard)
    return Job(shard, images.names[rows], None if images.classes is None else images.classes[rows])


def _gather(made: Iterator[Outcome], outcomes: dict[int, Outcome], current: Plan, progress: bool) -> None:
    """Add each new outcome to `outcomes`, until every shard is made or too many images are unreadable."""
    finished = sum(map(len, outcomes.values()))
    unreadable = sum(len(outcome.unreadable) for outcome in outcomes.values())
    with tqdm(
        total=current.images, initial=finished, desc="features", unit=" images", disable=not progress
    ) as bar:
        while len(outcomes) < current.shards and unreadable <= UNREADABLE_LIMIT * current.images:
            outcome = next(made)
            outcomes[outcome.shard] = outcome
            unreadable += len(outcome.unreadable)
            bar.update(len(outcome))


def _report(out: Path, unreadable: list[str], images: int) -> None:
    """Write the list of unreadable images into a file, and warn; raise if there are too many."""
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
            f"{message} That is more than {UNREADABLE_LIMIT:.0%}. Copy the folder again from its source, or "
            "remove these files; then start again with --overwrite."
        )
    warnings.warn(f"{message} They are left out.", TlkitWarning, stacklevel=3)
