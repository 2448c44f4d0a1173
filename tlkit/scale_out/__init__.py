"""Features of a folder of any size: shards on disk, made by this process or by a Ray cluster.

A run that was stopped or killed goes on where it was: `extract` once more makes what is missing.
"""

import lazy_loader

# lazy, since a worker on Ray must choose its cores before anything here counts them
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "extraction": ["ENGINES", "Summary", "extract"],
        "reading": ["Features", "read", "read_shards", "verify"],
    },
)
