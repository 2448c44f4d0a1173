"""Test-time adaptation: a deployed classifier adapts to the stream of unlabelled images that it predicts."""
