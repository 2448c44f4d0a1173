"""Experiments over arms, settings and seeds: run them, keep them, compare them fairly."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cells": ["compare"],
        "kept": ["Kept"],
        "label_counts": ["label_counts"],
        "tables": ["paired", "summary"],
    },
)
