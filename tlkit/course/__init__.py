"""The course: what makes the notebooks lessons."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"checks": ["check", "hint", "solution"], "progress": ["record"]}
)
