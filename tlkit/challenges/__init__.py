"""Methods for the four challenges of transfer learning: one module or package per challenge."""
