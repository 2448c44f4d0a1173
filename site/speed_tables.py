"""The tables of `benchmarks/speed` as Markdown, from the JSON that the benchmarks wrote."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks" / "speed"))

from measuring import RESULTS, Comparison


@dataclass(frozen=True)
class Table:
    """One comparison: what was done, and a Markdown table with one row a side."""

    title: str
    markdown: str


@dataclass(frozen=True)
class Speed:
    """What one benchmark of speed measured, and on which machine."""

    title: str
    machine: str
    tables: list[Table]
    notes: list[str]
    missing: dict[str, str]


def speed(results: Path = RESULTS) -> list[Speed]:
    """Return every benchmark of speed that was run, in the order of their names."""
    return [_read(json.loads(path.read_text("utf-8"))) for path in sorted(results.glob("*.json"))]


def _read(written: dict[str, Any]) -> Speed:
    comparisons = [Comparison(**each) for each in written["comparisons"]]
    tables = [Table(each.title, _markdown(each)) for each in comparisons]
    machine = written["machine"]
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    said = (
        f"Measured on {machine['date']} with {machine['cores']} cores ({machine['processor']}) and "
        f"{machine['memory']} of memory, Python {machine['python']}, {packages}; "
        f"`make {'bench-full' if written['full'] else 'bench'} BENCH={written['name']}` takes "
        f"{written['seconds']} s there."
    )
    return Speed(written["title"], said, tables, written["notes"], written["missing"])


def _markdown(comparison: Comparison) -> str:
    table = comparison.table()
    head = ["side", *table.columns[1:4], "tlkit is ahead by", "least", "most"]
    rows = [head, ["---"] + ["--:"] * 6, *table.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)
