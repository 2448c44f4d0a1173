"""Domain generalization: several labelled domains, and a classifier for a domain that nobody has seen yet.

    trainer = DomainTrainer(model, MixStyleTraining(), domains=2)
    trainer.train([photos.images, sketches.images], [photos.labels, sketches.labels], steps=500)
    model.save("model.keras")

Gulrajani & Lopez-Paz 2021, "In Search of Lost Domain Generalization".
"""

from tlkit._internal.registry import attach
from tlkit.techniques.domain_generalization.methods import METHODS

__getattr__, __dir__, __all__ = attach(
    __name__,
    (METHODS,),
    {
        "methods": ["METHODS"],
        "mixstyle": ["MixStyle", "with_mixstyle"],
        "training": ["DomainBatches", "DomainTrainer"],
    },
)
