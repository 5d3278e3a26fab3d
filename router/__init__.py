"""Clearbar."""
