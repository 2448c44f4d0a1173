"""Helpers for the package itself: private, and subject to change without notice."""
