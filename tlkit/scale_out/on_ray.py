"""Make shards with several workers, on the machines of a Ray cluster or on the cores of this machine.

The workers are plain Ray actors; Ray Data is not used. Each worker reads images and writes shards itself, so
only small messages pass through Ray, and each worker can be bound to its own cores. A worker loads the
network once. If a worker is killed, Ray restarts it and repeats its current shard. A shard is written
atomically, so an unfinished one never appears in the folder.
"""

import os
import socket
from collections.abc import Generator, Iterable, Sequence
from typing import Any

import keras

from tlkit._internal.environment import environment
from tlkit.errors import TlkitError
from tlkit.scale_out.actor import Actor
from tlkit.scale_out.shards import Outcome
from tlkit.scale_out.worker import Job, Worker

CORES = 4  # for each worker, if the number of workers is not specified
RETRIES = 3  # for a shard whose worker died
# For the HTTP clients of Ray's processes: a proxy that refuses, so they ask no machine but this one. Even
# without a dashboard and usage statistics, one of them asks the metadata servers of clouds where it runs.
NO_HTTP = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy")}
NO_HTTP |= {"no_proxy": "localhost,127.0.0.1"}


def on_ray(
    worker: Worker, jobs: Iterable[Job], *, workers: int | None = None, address: str | None = None
) -> Generator[Outcome, None, None]:
    """Make shards in several processes at once, in any order.

    Images and shards need the same paths on all machines. Workers compute on the CPU. The cores of a machine
    are divided among its workers. On Linux, each worker starts as many threads as it has cores; on other
    systems, one worker per machine is best.

    Args:
        worker: its network, folders and plan are copied to every actor.
        jobs: the shards to make.
        workers: number of workers; by default one for every four cores, and at least one on each machine.
        address: of a running cluster; `"auto"` finds the cluster of this machine. By default, Ray is started
            on this machine for this run. If this process is connected to Ray already, that connection is
            used.

    Yields:
        The outcome of each shard, as soon as it is made.

    Raises:
        TlkitError: Ray is missing, the cluster does not answer, it has fewer cores than `workers`, or a
            worker died repeatedly.
    """
    ray = ray_module()
    started = not ray.is_initialized()
    if started:
        _connect(ray, address)
    actors: list[Any] = []
    try:
        loaded = [
            ray.put(worker)
        ]  # inside a list, Ray does not fetch it for every job: the actor does so once
        remote = ray.remote(max_restarts=-1, max_task_retries=RETRIES)(Actor)
        machines = [
            (node["NodeID"], int(node["Resources"].get("CPU", 0))) for node in ray.nodes() if node["Alive"]
        ]
        for machine, first, cores in divide_cores(machines, workers):
            placement = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(machine, soft=True)
            options = remote.options(num_cpus=cores, scheduling_strategy=placement)
            actors.append(options.remote(first, cores, keras.backend.backend()))
        pool = ray.util.ActorPool(actors)
        yield from pool.map_unordered(lambda actor, job: actor.make.remote(loaded, job), list(jobs))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayActorError as error:
        raise TlkitError(
            f"A worker on Ray died and could not be replaced: {' '.join(str(error).split())} If memory is "
            "short, use fewer --workers or a smaller --shard-size. Finished shards are kept; the same "
            "command continues."
        ) from error
    finally:
        if started:
            ray.shutdown()
        else:
            for actor in actors:
                ray.kill(actor)


def divide_cores(
    machines: Sequence[tuple[str, int]], workers: int | None = None
) -> list[tuple[str, int, int]]:
    """Divide the cores of machines among workers.

    Args:
        machines: name and number of cores of each machine.
        workers: number of workers; None takes one for every four cores, and at least one on each machine.

    Returns:
        For each worker: its machine, the index of its first core, and its number of cores.

    Raises:
        TlkitError: there are fewer cores than workers.

    >>> divide_cores([("large", 8), ("small", 2)])
    [('large', 0, 4), ('large', 4, 4), ('small', 0, 2)]
    >>> divide_cores([("here", 2)], workers=2)
    [('here', 0, 1), ('here', 1, 1)]
    """
    cores = {machine: n for machine, n in machines if n > 0}
    if workers is None:
        counts = {machine: max(1, n // CORES) for machine, n in cores.items()}
    elif workers > sum(cores.values()):
        raise TlkitError(
            f"{workers} workers were requested, but Ray has {sum(cores.values())} cores. Use --workers "
            f"{sum(cores.values())} or fewer."
        )
    else:
        counts = dict.fromkeys(cores, 0)
        for _ in range(workers):
            counts[max(counts, key=lambda machine: cores[machine] / (counts[machine] + 1))] += 1
    return [
        (machine, i * cores[machine] // n, (i + 1) * cores[machine] // n - i * cores[machine] // n)
        for machine, n in counts.items()
        for i in range(n)
    ]


def ray_module() -> Any:
    """Import Ray with its usage statistics switched off, and return it.

    Raises:
        TlkitError: Ray is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise TlkitError('The engine "ray" needs Ray: pip install "tlkit[scale]"') from error
    return ray


def _connect(ray: Any, address: str | None) -> None:
    logging = {"logging_level": "error"}
    if address is None:
        try:
            with environment(NO_HTTP):
                ray.init("local", include_dashboard=False, **logging)
        except Exception as error:  # Ray raises a plain Exception on a machine that is too busy
            reason = " ".join(str(error).split()).rstrip(".")
            raise TlkitError(
                f"Ray could not start on this machine: {reason}. Close other programs and run the same "
                "command again, or leave out --engine ray."
            ) from error
        return
    try:
        host, _, port = address.rpartition(":")
        if port.isdecimal() and "/" not in host:  # Ray itself would retry for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, **logging)
    except (OSError, RuntimeError, ValueError) as error:
        raise TlkitError(
            f"No Ray cluster answers at {address!r}: {str(error).rstrip('.')}. Start one with ray start "
            "--head, and run the command that it prints on every other machine. Without --address, Ray runs "
            "on this machine only."
        ) from error
