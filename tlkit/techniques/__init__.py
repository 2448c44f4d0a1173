"""The techniques of transfer learning, one module each."""

TECHNIQUES = ("feature-extraction", "fine-tuning", "scratch")
