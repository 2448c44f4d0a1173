"""Results that report themselves: one file for each kind of experiment, one document model, one template.

A result has `metrics()`, every number, and `report()`, a `Document` of sections with text, tables, figures
and images. `write_report` writes both into a folder, with the files of the result such as the model.
"""
