"""The course: what makes the notebooks lessons."""
