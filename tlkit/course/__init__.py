"""Tools for the course: exercise checks, copies of the notebooks, class packs and progress reports."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"checks": ["check", "hint", "solution"], "progress": ["record"]}
)
