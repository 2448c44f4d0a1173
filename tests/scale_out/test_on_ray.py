"""On Ray: several processes, one of which is killed, and no image lost or twice."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from pushes import full

from tlkit.errors import TlkitError
from tlkit.scale_out import extraction, on_ray, shards
from tlkit.scale_out.worker import Worker


class Watched(Worker):
    """Tells which cores it has; the first that comes to shard 3 hangs in the middle of writing it."""

    def make(self, job):
        import pyarrow.parquet

        from tlkit.data import decode

        notes = self.out.parent
        (notes / f"cores-{os.getpid()}").write_text(f"{os.sched_getaffinity(0)} {decode.CORES}")
        whole = pyarrow.parquet.write_table

        def hang(table, path, **options):
            path.write_bytes(b"PAR1")
            (notes / "pid.part").write_text(str(os.getpid()))
            (notes / "pid.part").rename(notes / "pid")
            time.sleep(60)

        first = job.shard == 3 and not (notes / "pid").exists()
        pyarrow.parquet.write_table = hang if first else whole
        try:
            return super().make(job)
        finally:
            pyarrow.parquet.write_table = whole


@pytest.fixture
def ray():
    """Ray on two cores of this machine, for this test."""
    pytest.importorskip("ray")
    ray = on_ray.ray_module()
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    ray.init("local", num_cpus=2, include_dashboard=False, logging_level="error")
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield ray
    ray.shutdown()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="processes are bound to cores on Linux only")
@full
def test_after_the_kill_of_a_worker_no_image_is_lost_or_twice(
    ray, run, out, undisturbed, same, tmp_path, monkeypatch
):
    seen = {}

    def kill():
        deadline = time.monotonic() + 60
        while not (tmp_path / "pid").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        seen["before"] = {path: path.stat().st_mtime_ns for path in shards.shard_paths(out)}
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

    monkeypatch.setattr(extraction, "Worker", Watched)
    killer = threading.Thread(target=kill)
    killer.start()
    done = run(engine="ray", workers=2)
    killer.join()
    assert (done.made, done.images) == (5, 40)
    same(out, undisturbed)
    assert shards.shard_path(out, 3) not in seen["before"]
    for path, when in seen["before"].items():
        assert path.stat().st_mtime_ns == when

    notes = [path.read_text() for path in tmp_path.glob("cores-*")]
    assert len(notes) == 3  # two workers, and the one in the place of the killed
    if len(os.sched_getaffinity(0)) > 1:
        assert len(set(notes)) == 2
    assert {note.split()[-1] for note in notes} == {"1"}
    assert ray.is_initialized()  # it was not started by the run

    monkeypatch.setattr(on_ray, "Actor", None)
    assert run(engine="ray").made == 0  # and nothing is started for nothing
    assert not list(Path(out).glob(".writing-*"))


def test_a_cluster_that_does_not_answer_is_said_at_once(run):
    pytest.importorskip("ray")
    with pytest.raises(TlkitError, match=r"No Ray cluster answers at '127.0.0.1:9': .* ray start --head"):
        run(engine="ray", address="127.0.0.1:9")


def test_the_processes_of_a_local_ray_can_ask_no_other_machine_by_http(monkeypatch):
    utils = pytest.importorskip("requests").utils
    monkeypatch.setenv("NO_PROXY", "169.254.169.254")
    monkeypatch.delenv("no_proxy", raising=False)
    before, proxies = dict(os.environ), []

    def init(*_, **__):
        proxies.extend(utils.get_environ_proxies(f"http://{each}/")["http"] for each in METADATA)

    on_ray._connect(SimpleNamespace(init=init), None)
    assert proxies == ["http://127.0.0.1:9"] * 2
    assert os.environ == before


METADATA = ("169.254.169.254", "metadata.google.internal")  # of clouds


def test_a_ray_that_cannot_start_is_an_error_in_one_line():
    def init(*_, **__):
        raise Exception("The current node timed out\nduring startup.")

    with pytest.raises(TlkitError, match=r"Ray could not start .* timed out during startup\. Close other"):
        on_ray._connect(SimpleNamespace(init=init), None)


def test_more_workers_than_cores_are_refused():
    with pytest.raises(TlkitError, match="5 workers were requested, but Ray has 3 cores"):
        on_ray.divide_cores([("one", 2), ("two", 1)], workers=5)


def test_the_cores_of_every_machine_are_divided_among_its_workers():
    for workers in (None, 1, 2, 3, 7, 12):
        placed = on_ray.divide_cores([("one", 10), ("two", 3), ("none", 0)], workers)
        assert workers in (None, len(placed))
        taken = [(name, core) for name, first, cores in placed for core in range(first, first + cores)]
        assert len(taken) == len(set(taken))
        assert all(cores >= 1 for _, _, cores in placed)
        assert {name: sum(each == name for each, _ in taken) for name, _ in taken}.items() <= {
            ("one", 10),
            ("two", 3),
        }
