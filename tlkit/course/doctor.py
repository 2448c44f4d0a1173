"""Is this machine ready for the lessons? One check a line, as soon as it is done, and a verdict."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from tlkit.course import machine
from tlkit.course.machine import Finding, first_line, pip_install
from tlkit.errors import TlkitError

REFERENCE_SECONDS = 4.8  # of the training run, on the machine where the lessons measured their own


class Check(NamedTuple):
    """One line of the table: `look` returns the finding, and is not called where one of `needs` is wrong."""

    name: str
    look: Callable[[], Finding]
    needs: tuple[str, ...] = ()


CHECKS = (
    Check("Python", machine.python),
    Check("packages", machine.packages),
    Check("memory", machine.memory),
    Check("disk", machine.disk),
    Check("cores", machine.cores),
    Check("Keras", machine.backend),
    Check("GPU", machine.gpu, needs=("Keras",)),
    Check("weights", machine.weights, needs=("Keras",)),
    Check("data sets", machine.data_sets),
    Check("training", machine.training, needs=("Keras", "weights", "data sets")),
    Check("Jupyter", machine.jupyter),
)


def examine(announce: Callable[[str], object] = lambda name: None) -> Iterator[Finding]:
    """Yield what each check finds, as soon as it is done; a check that raises has found something wrong.

    Args:
        announce: gets the name of each check before it starts.

    >>> next(examine()).name
    'Python'
    """
    wrong: set[str] = set()
    for check in CHECKS:
        announce(check.name)
        try:
            if hindered := [name for name in check.needs if name in wrong]:
                finding = Finding("note", f"not tried before this is mended: {', '.join(hindered)}")
            else:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    finding = check.look()
        except Exception as error:
            again = pip_install("tlkit[tensorflow,lessons]", options="--upgrade --force-reinstall")
            finding = Finding("wrong", f"the check failed: {first_line(error)}", again)
        if finding.state == "wrong":
            wrong.add(check.name)
        yield replace(finding, name=check.name)


def minutes(findings: list[Finding]) -> float | None:
    """Return about how long all lessons will run here; None where that cannot be told.

    The lessons know their seconds on the machine where they were executed last; the training run took
    `REFERENCE_SECONDS` there.
    """
    took = next((each.measured["seconds"] for each in findings if "seconds" in each.measured), None)
    try:
        from tlkit.course.lessons import lessons

        seconds = [lesson.seconds for lesson in lessons()]
    except (ImportError, TlkitError):
        return None
    return None if took is None or 0 in seconds else sum(seconds) * took / REFERENCE_SECONDS / 60


def verdict(findings: list[Finding]) -> str:
    """Say in a line whether the machine is ready.

    >>> verdict([Finding("wrong", "ipykernel missing", name="Jupyter")])
    'Not ready: Jupyter. Do what stands behind "mend", then run tlkit doctor again.'
    """
    if wrong := [each.name for each in findings if each.state == "wrong"]:
        return f'Not ready: {", ".join(wrong)}. Do what stands behind "mend", then run tlkit doctor again.'
    about = minutes(findings)
    return "Ready." + (
        f" All lessons together run about {max(1, round(about))} minutes here." if about else ""
    )
