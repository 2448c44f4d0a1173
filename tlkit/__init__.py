"""tlkit: transfer learning with Keras, to learn it and to use it."""

__version__ = "0.1.0"
