"""Evals: measure models on tasks, and turn what was measured into evidence that policies rely on."""
