"""Answers that need no call."""
