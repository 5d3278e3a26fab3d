"""The seam to the outside: how a call reaches a model."""
