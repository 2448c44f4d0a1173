"""Extract the features of an image folder of any size into files, in this process or on a Ray cluster.

The features are written into Parquet files, called shards. After an interruption, call `extract` again: it
computes only the missing shards.
"""

import lazy_loader

# lazy, because a Ray worker must choose its cores before any of these modules counts them
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "extraction": ["ENGINES", "Summary", "extract"],
        "reading": ["Features", "read", "read_shards", "verify"],
    },
)
