"""Overfitting: regularisers for fine-tuning, and measures of how much a network has overfitted.

    learner = BSS(model)  # shares all weights with the model
    tlkit.fine_tune(learner, data.train, data.validation)  # or learner.compile(...) and learner.fit(...)
    model.save("model.keras")  # plain Keras

`REGULARIZERS` lists the regularisers and applies each of them in the same way.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "averaging": ["wise_ft"],
        "batch_spectral_shrinkage": ["BSS", "smallest_singular_values"],
        "calibration": ["expected_calibration_error", "reliability_table", "temperature", "tempered"],
        "co_tuning": ["CoTuning", "class_relationship", "class_relationship_by_bayes"],
        "delta": ["DELTA", "channel_attention", "feature_distance"],
        "l2_sp": ["L2SP", "keep_near_start"],
        "lora": ["enable_lora", "merge_lora"],
        "mixing": ["cutmix", "mixup"],
        "parts": ["with_augmentation", "with_dropout"],
        "regularizers": ["REGULARIZERS", "Regularizer"],
        "signs": ["distance_from_start", "generalisation_gap", "shuffled_labels"],
        "stochastic_depth": ["stochastic_depth"],
        "stochastic_normalization": ["StochNorm", "stoch_norm"],
    },
)
