"""What a report says about the choice between the frozen and the fine-tuned network."""

import numpy as np

from tlkit.reports.choice import reason
from tlkit.techniques.robust_fine_tuning import RobustFineTuning


def tuned(frozen, better, labels):
    """A result in which these probabilities of the second class led to a mix of 1."""
    found = {mix: np.stack([1 - p, p], axis=1) for mix, p in ((0.0, frozen), (1.0, better))}
    losses = {0.0: 0.7, 1.0: 0.5}
    return RobustFineTuning(None, 1.0, labels=labels, held_out=found, log_losses=losses, steps=120)


def test_a_gain_has_its_interval_and_is_doubted_where_that_includes_zero():
    labels = np.arange(40) % 2
    right = np.where(labels == 1, 0.9, 0.1)
    clear = reason(tuned(np.full(40, 0.9), right, labels))
    assert "(+50.0 points of accuracy, 95 % interval +3" in clear
    assert "includes 0" not in clear
    assert "(+0.0 points of accuracy, 95 % interval +0.0 to +0.0; the interval" in reason(
        tuned(right, right, labels)
    )


def test_one_held_out_label_has_no_interval():
    told = reason(tuned(np.array([0.4]), np.array([0.6]), np.array([1])))
    assert "(+100.0 points of accuracy; one label does not show which is more accurate)" in told
    assert "nan" not in told
