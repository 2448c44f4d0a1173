"""What the benchmarks measured, as Markdown tables, computed from the files that the benchmarks wrote.

    .venv/bin/python site/claims.py   # write the tables into site/pages/measured.md again

A table stands in the page between two comments with its name. A test compares the page with the files.
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterable
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import tlkit
from tlkit._internal.intervals import mean_interval
from tlkit.reports.words import counted

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PAGE = Path(__file__).parent / "pages" / "measured.md"
MAIN = Path(__file__).with_suffix(".toml")  # the claims that the first table repeats
GLANCE = "at_a_glance"
HEAD = ("what", "figure", "95 % interval", "over")
Row = tuple[str, ...]


def claims() -> dict[str, str]:
    """Return the table of each benchmark by its name, and one of the main claims with their commands."""
    rows = {name: list(rows()) for name, rows in TABLES.items()}
    main = [
        (said, *next(row for row in rows[name] if row[0] == what)[1:], link(name))
        for name, claimed in tomllib.loads(MAIN.read_text("utf-8")).items()
        for said, what in claimed.items()
    ]
    tables = {name: markdown(each) for name, each in rows.items()}
    return {GLANCE: markdown(main, ("claim", *HEAD[1:], "script")), **tables}


def link(name: str) -> str:
    """Return a link to the section of a benchmark.

    >>> link("few_labels")
    '[few_labels.py](#few-labels)'
    """
    return f"[{name}.py](#{SECTIONS.get(name, name.replace('_', '-'))})"


def filled(page: str) -> str:
    """Return the page with the tables of today between the comments that name them."""
    for name, table in claims().items():
        page, found = re.subn(
            rf"(<!-- {name} -->)\n.*?(<!-- end of {name} -->)",
            lambda place, table=table: f"{place[1]}\n\n{table}\n\n{place[2]}",  # type: ignore[misc]
            page,
            flags=re.DOTALL,
        )
        if found != 1:
            raise ValueError(f"The page has {found} places for the table {name!r}; expected 1.")
    return page


def markdown(rows: Iterable[Row], head: Row = HEAD) -> str:
    """Return a Markdown table.

    >>> print(markdown([("A minus B", "+1.0", "0.5 to 1.5", "3 seeds")]))
    | what | figure | 95 % interval | over |
    |---|--:|--:|---|
    | A minus B | +1.0 | 0.5 to 1.5 | 3 seeds |
    """
    lines = [f"| {' | '.join(each)} |" for each in (head, *rows)]
    return "\n".join([lines[0], "|---|--:|--:|" + "---|" * (len(head) - 3), *lines[1:]])


def mean_row(what: str, values: Any, over: str, digits: int = 1) -> Row:
    """Return the row of a mean difference of independent values, such as one for each seed.

    >>> mean_row("A minus B", [1.0, 2.0, 3.0], "seeds")
    ('A minus B', '+2.0', '-0.5 to +4.5 (cannot tell)', '3 seeds')
    """
    values = np.asarray(values, float)
    return row(what, values.mean(), *mean_interval(values), f"{len(values)} {over}", digits)


def row(what: str, mean: float, low: float, high: float, over: str, digits: int = 1) -> Row:
    """Return the row of a difference. An interval that includes zero is marked: it cannot tell."""
    interval = f"{low:+.{digits}f} to {high:+.{digits}f}"
    return what, f"{mean:+.{digits}f}", interval + (" (cannot tell)" if low <= 0 <= high else ""), over


def seeds(table: pd.DataFrame) -> str:
    """Return how many seeds a table has.

    >>> seeds(pd.DataFrame({"seed": [0, 0, 1]}))
    '2 seeds'
    """
    return counted(table["seed"].nunique(), "seed")


@cache
def benchmark(name: str) -> Any:
    """Return a script of `benchmarks/` as a module; it runs nothing."""
    spec = spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def table_of(name: str) -> pd.DataFrame:
    return pd.read_csv(BENCHMARKS / f"{name}.csv", keep_default_na=False, na_values=[""])


def json_of(name: str) -> Any:
    return json.loads((BENCHMARKS / f"{name}.json").read_text("utf-8"))


def solar_cells() -> Iterable[Row]:
    found = json_of("solar_cells")
    for what, own in found["scores"].items():
        ends, over = (own["mean"], own["low"], own["high"]), f"{found['cells']:,} cells, 1 seed"
        if " minus " in what:
            yield row(f"{what}, balanced accuracy", *ends, over)
        else:
            mean, low, high = ends
            yield f"{what}, balanced accuracy", f"{mean:.1f} %", f"{low:.1f} to {high:.1f}", over


def few_labels() -> Iterable[Row]:
    table, found = table_of("few_labels"), json_of("few_labels")["points"]
    runs = table.groupby("arm")["seed"].nunique()
    for measure, said in (("accuracy", "accuracy"), ("balanced_accuracy", "balanced accuracy")):
        for other in ("scikit-learn", "Keras guide", "fastai", "frozen", "scratch"):
            compared = found[measure][f"auto minus {other}"]
            for where, settings in (("", "all settings"), (", without digits", "without digits")):
                own = compared[settings]
                common = counted(min(runs["auto"], runs[other]), "seed")
                over = f"{own['settings']} settings; {common} in each"
                yield row(f"default minus {other}, {said}{where}", own["mean"], own["low"], own["high"], over)
            ((setting, points),) = compared["worst"].items()
            yield f"default minus {other}, {said}: worst setting", f"{points:+.1f}", "", setting


def audit() -> Iterable[Row]:
    script = benchmark("audit")
    found = json_of("audit")
    means, found = 100 * script.summary(found), pd.DataFrame(found)
    for name, said in script.DATA.items():
        for rate in script.RATES:
            over = seeds(found[(found["data"] == name) & (found["planted"] == rate)])
            for measure in ("precision", "recall"):
                own = means.loc[(name, rate)]
                what = f"{said}, {100 * rate:.0f} % of labels flipped: {measure}"
                mean, low, high = own.loc[measure, ["mean", "low", "high"]]
                yield what, f"{mean:.0f} %", f"{low:.0f} to {high:.0f}", over
                what += " minus baseline"
                yield row(what, *own.loc[f"{measure}, difference", ["mean", "low", "high"]], over)


def domain_adaptation() -> Iterable[Row]:
    script = benchmark("domain_adaptation")
    table = pd.read_csv(script.TABLE)
    for kind, arms in script.ARMS.items():
        means = script.gains(table).loc[kind]
        default, reported = means[arms[0]], ~means.index.isin(script.TUNED)
        yield mean_row(f"{kind}: {arms[0]} minus source only", default, "pairs")
        yield mean_row(f"{kind}: the same, pairs that were not tuned on", default[reported], "pairs")
        yield (
            f"{kind}: {arms[0]} minus source only, worst pair",
            f"{default.min():+.1f}",
            "",
            default.idxmin(),
        )
        for arm in arms[1:]:
            yield mean_row(f"{kind}: {arm} minus {arms[0]}", means[arm] - default, "pairs")
        for score in ("entropy", "snd"):
            chosen = script.chosen_by(table, score, kind)
            yield mean_row(f"{kind}: the method that {score} chooses minus {arms[0]}", chosen, "pairs")


def multi_task() -> Iterable[Row]:
    script, found = benchmark("multi_task"), json_of("multi_task")
    runs = pd.DataFrame(found["runs"])
    arms = [arm for arm in runs["arm"].unique() if not arm.startswith("only")]
    for family in script.FAMILIES:
        gains = script.gains(found, family, arms)
        yield mean_row(f"{family}: equal weights minus one network per task, %", gains.loc["equal"], "seeds")
        for arm in arms:
            if arm != "equal":
                gain = gains.loc[arm] - gains.loc["equal"]
                yield mean_row(f"{family}: {arm} minus equal weights, %", gain, "seeds")


def self_supervised() -> Iterable[Row]:
    frozen = pd.DataFrame(json_of("self_supervised")["frozen"])
    for family, own in frozen.groupby("family"):
        cells = 100 * own.pivot(index="seed", columns="arm", values="knn")
        for arm in cells.columns.drop(["random weights", "ImageNet weights"]):
            gain = cells[arm] - cells["random weights"]
            yield mean_row(f"{family}: {arm} minus random weights, k-NN accuracy", gain, "seeds")
        known, random = cells["ImageNet weights"].dropna().mean(), cells["random weights"].mean()
        yield (
            f"{family}: ImageNet weights, k-NN accuracy (random weights {random:.1f} %)",
            f"{known:.1f} %",
            "",
            "1 run",
        )


def model_selection() -> Iterable[Row]:
    script, found = benchmark("model_selection"), json_of("model_selection")
    seconds = pd.DataFrame(pd.DataFrame(found)["seconds"].tolist(), dtype=float).median()
    taus = script.correlations(found).groupby(["truth", "score", "data"])["tau"].mean()
    order = taus["tuned"].groupby("score").mean().sort_values(ascending=False).index
    for truth, said in script.TRUTHS.items():
        for score in order:
            what = f"tau of {score} with the accuracy of {said}"
            yield mean_row(what, taus[truth][score], "data sets", digits=2)
    for score in order:
        over = counted(len(taus["tuned"][score]), "data set")
        yield f"median time of {score}", f"{seconds[score]:.3f} s", "", over


def overfitting() -> Iterable[Row]:
    table = table_of("overfitting")
    for value, said in (("accuracy", "accuracy"), ("ece", "calibration error")):
        pairs = tlkit.paired(table, "none", value, by="labels")
        for (labels, arm), own in pairs.iterrows():
            difference = 100 * own[["difference", "low", "high"]].astype(float)
            yield row(f"{arm}, {labels} labels per class: {said}", *difference, f"{own['pairs']:.0f} seeds")


TABLES: dict[str, Callable[[], Iterable[Row]]] = {
    each.__name__: each
    for each in (
        solar_cells,
        few_labels,
        audit,
        domain_adaptation,
        multi_task,
        self_supervised,
        model_selection,
        overfitting,
    )
}

SECTIONS = {
    "multi_task": "multi-task-learning",
    "self_supervised": "self-supervised-learning",
}  # where a section of the page has another name than the script


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")
