"""After training: a run opened again, its model card, its model for other programs, a page that serves it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["exporting", "model_card", "saved_run", "serving"],
    submod_attrs={
        "exporting": ["export"],
        "model_card": ["images_needed"],
        "saved_run": ["SavedRun", "open_run"],
        "serving": ["launch", "page"],
    },
)
