"""Methods that answer the challenges of transfer learning, one module each."""
