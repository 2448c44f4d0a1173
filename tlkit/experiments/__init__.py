"""Experiments: one file for each question, one function in it, one result that reports itself.

    result = tlkit.train(tlkit.load("emoji"))
    result.metrics()                              # every number, as plain Python values
    tlkit.write_report(result, "runs/mine")       # the model, metrics.json and report.html

Every result is a dataclass with `metrics()` and `report()`; see `tlkit.reports.result.Result`.
"""
