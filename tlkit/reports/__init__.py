"""Reports: what a page is made of, the sections that experiments share, and the file that is written.

An experiment's result composes a `Document` in its method `report()`; `write_report` makes one HTML page of
it.
"""
