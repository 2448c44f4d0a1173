"""05 Fine-tuning."""

from typing import Any

from tlkit.course.exercises.exercise import Exercise, Mistake
from tlkit.course.exercises.expected import number, truth, whole_number


def learning(answer: int, model: Any) -> tuple[int, dict[str, int], int]:
    """Return the answer, the trainable parameters by stage, and all parameters: from `dense` upwards."""
    from tlkit.models import frozen_table, unfreeze

    unfreeze(model, from_stage="dense")
    table = frozen_table(model)
    return answer, table["trainable parameters"].to_dict(), int(table["parameters"].sum())


EXERCISES = [
    Exercise(
        "02.1",
        takes=whole_number(),
        hint="unfreeze the model as the task says, then read the column 'trainable parameters' of "
        "tlkit.frozen_table(model).",
        shows="Three quarters of this LeNet's parameters lie in its dense stage: freezing the convolutions "
        "saves a quarter.",
        measure=learning,
        mistakes=[
            Mistake(
                "the head is left out",
                "The stages that learn are more than the dense one: what stands on top of it?",
                lambda found, model: found[0] == found[1]["dense"],
            ),
            Mistake(
                "frozen stages are counted, too",
                "That is every parameter of the network. The convolutions do not learn.",
                lambda found, model: found[0] == found[2],
            ),
            Mistake(
                "another number",
                "Add up the trainable parameters, stage by stage.",
                lambda found, model: found[0] != sum(found[1].values()),
            ),
        ],
    ),
    Exercise(
        "02.2",
        takes=number(0, 1, "a learning rate"),
        hint="Look at the figure of step 4: left of 0.01 both lines are high for a while.",
        shows="Between too small and too large lies a window in which the new is learned and the old "
        "is kept.",
        measure=lambda rate, train, large: train(rate),
        mistakes=[
            Mistake(
                "the step is too large: the features move too far",
                "Less than 80 % of the old digits are still read: the features moved too far.",
                lambda found, train, large: found["old digits"] < 0.8,
            ),
            Mistake(
                "the step is too small: nothing is learned",
                "The new digits do not gain over a learning rate of 0.01.",
                lambda found, train, large: found["validation"] <= large,
            ),
        ],
    ),
    Exercise(
        "02.3",
        takes=truth(),
        hint="mean_moves(trainable) is there to be called: once with True, once with False.",
        shows="In Keras a frozen BatchNormalization runs in inference mode. That is why unfreeze "
        "leaves it frozen.",
        mistakes=[
            Mistake(
                "what holds in other frameworks is taken for granted: there, frozen layers still move "
                "their statistics",
                "Let mean_moves tell you: call it for a frozen layer.",
                lambda moves: moves,
            ),
        ],
    ),
]
