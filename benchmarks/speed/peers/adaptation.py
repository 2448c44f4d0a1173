"""The peer on JAX of `domain_adaptation.py`: tlkit, or a loop written by hand.

    .peers/jax/bin/python peers/adaptation.py SIDE METHOD GIVEN EPOCHS

`SIDE` is `tlkit` or `loop`, and `GIVEN` the file that `write` of `sides.py` made.
"""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "jax"  # before anything imports Keras

from measuring import serve
from peers.adaptation_jax import JaxLoop
from peers.sides import Side, Tlkit

SIDES: dict[str, type[Side]] = {"tlkit": Tlkit, "loop": JaxLoop}

if __name__ == "__main__":
    name, method, given, epochs = sys.argv[1:]
    side = SIDES[name](method, given, int(epochs))
    losses, seeds = side.first_losses(), iter(range(10**6))
    serve(lambda: {**side.run(next(seeds)), "losses": losses})
