"""Templates behind `generate: local-pool`: one module a task, each with its kinds of questions."""
