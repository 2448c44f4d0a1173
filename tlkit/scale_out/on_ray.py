"""Workers on the machines of a Ray cluster, or on the cores of this one.

Plain actors, not Ray Data: a worker reads images and writes shards by itself, so nothing that is worth
streaming travels through Ray; and an actor can be told which cores are its own. An actor loads the network
once. Where one is killed, Ray starts it again and repeats the shard that it was at; what it had written of
that nobody has seen, since a shard appears whole.
"""

import os
import socket
from collections.abc import Generator, Iterable, Sequence
from typing import Any

import keras

from tlkit.errors import TlkitError
from tlkit.scale_out.actor import Actor
from tlkit.scale_out.shards import Outcome
from tlkit.scale_out.worker import Job, Worker

CORES = 4  # of a worker, where the number of workers is not given
RETRIES = 3  # of a shard whose worker died


def on_ray(
    worker: Worker, jobs: Iterable[Job], *, workers: int | None = None, address: str | None = None
) -> Generator[Outcome, None, None]:
    """Make shards by several processes at once, in any order.

    Images and shards must lie under the same paths on all machines. A worker computes on the processor. The
    cores of a machine are divided among its workers, and on Linux each starts as many threads as it has
    cores; elsewhere one worker a machine is best.

    Args:
        worker: whose network, folders and plan the others get.
        jobs: the shards to be made.
        workers: how many; by default one for four cores, and at least one on each machine.
        address: of a running cluster, `"auto"` for the one that this machine is a part of; by default Ray is
            started here, for this run and this machine alone. A Ray that this process is connected to
            already is used as it is.

    Raises:
        TlkitError: Ray is missing, the cluster does not answer or has fewer cores than workers are wanted,
            or a worker died time and again.
    """
    ray = ray_module()
    started = not ray.is_initialized()
    if started:
        _connect(ray, address)
    actors: list[Any] = []
    try:
        loaded = [ray.put(worker)]  # in a list it is fetched by the actor, once, and not with every job
        remote = ray.remote(max_restarts=-1, max_task_retries=RETRIES)(Actor)
        machines = [
            (node["NodeID"], int(node["Resources"].get("CPU", 0))) for node in ray.nodes() if node["Alive"]
        ]
        for machine, first, cores in shared_out(machines, workers):
            here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(machine, soft=True)
            options = remote.options(num_cpus=cores, scheduling_strategy=here)
            actors.append(options.remote(first, cores, keras.backend.backend()))
        pool = ray.util.ActorPool(actors)
        yield from pool.map_unordered(lambda actor, job: actor.make.remote(loaded, job), list(jobs))
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayActorError as error:
        raise TlkitError(
            f"A worker on Ray died and could not be replaced: {' '.join(str(error).split())} Where memory is "
            "short, give fewer --workers or a smaller --shard-size. Finished shards stay; the same command "
            "goes on."
        ) from error
    finally:
        if started:
            ray.shutdown()
        else:
            for actor in actors:
                ray.kill(actor)


def shared_out(machines: Sequence[tuple[str, int]], workers: int | None = None) -> list[tuple[str, int, int]]:
    """Divide the cores of machines among workers.

    Args:
        machines: name and number of cores of each.
        workers: how many; None for one for four cores, and at least one a machine.

    Returns:
        Of each worker its machine, the first of its cores, and how many it has.

    Raises:
        TlkitError: there are fewer cores than workers.

    >>> shared_out([("large", 8), ("small", 2)])
    [('large', 0, 4), ('large', 4, 4), ('small', 0, 2)]
    >>> shared_out([("here", 2)], workers=2)
    [('here', 0, 1), ('here', 1, 1)]
    """
    cores = {machine: n for machine, n in machines if n > 0}
    if workers is None:
        counts = {machine: max(1, n // CORES) for machine, n in cores.items()}
    elif workers > sum(cores.values()):
        raise TlkitError(
            f"{workers} workers were asked for, and Ray has {sum(cores.values())} cores. Give --workers "
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
    """Import Ray so that it reports nothing about its use, and return it.

    Raises:
        TlkitError: it is not installed.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise TlkitError('The engine "ray" needs Ray: pip install "tlkit[scale]"') from error
    return ray


def _connect(ray: Any, address: str | None) -> None:
    quiet = {"logging_level": "error"}
    if address is None:
        ray.init("local", include_dashboard=False, **quiet)
        return
    try:
        host, _, port = address.rpartition(":")
        if port.isdecimal() and "/" not in host:  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address, **quiet)
    except (OSError, RuntimeError, ValueError) as error:
        raise TlkitError(
            f"No Ray cluster answers at {address!r}: {str(error).rstrip('.')}. Start one: ray start --head; "
            "then on each other machine what it prints. Without --address, Ray runs on this machine alone."
        ) from error
