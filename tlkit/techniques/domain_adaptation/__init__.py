"""Domain adaptation: a labelled source and an unlabelled target, one classifier for both.

    adapter = DomainAdapter(model, DANN())
    adapter.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    adapter.fit(pair(source, target), epochs=20)
    model.save("model.keras")

Pan & Yang 2010, "A Survey on Transfer Learning", call this transductive transfer.
"""

import importlib
from typing import Any

_HOME = {
    "adapter": ("DomainAdapter",),
    "adversarial": ("ADDA", "CDAN", "DANN", "reverse_gradient"),
    "alignment": ("Alignment", "Domain"),
    "discrepancy": ("MCD", "MDD", "WDGRL"),
    "divergence": (
        *("AFN", "CMD", "JAN", "MMD", "ClosedFormCORAL", "DeepCORAL"),
        *("cmd", "coral", "coral_map", "joint_mmd", "mmd"),
    ),
    "methods": ("METHODS", "Method", "find"),
    "normalization": ("TENT", "AdaBN"),
    "pairs": ("Pairs", "pair"),
    "predictions": ("MCC", "MinimumEntropy", "PseudoLabel"),
    "selection": ("SCORES", "proxy_a_distance"),
    "weighting": ("KLIEP", "DomainRatio", "domain_ratio", "kliep"),
}
__all__ = sorted(name for names in _HOME.values() for name in names)


def __getattr__(name: str) -> Any:
    """Load what is asked for when it is first used: the table of methods alone needs no Keras."""
    if name in _HOME:
        return importlib.import_module(f"{__name__}.{name}")
    for module, names in _HOME.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
