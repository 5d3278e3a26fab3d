"""A run as one self-contained page: decision, frontier, heat map, distributions, and every answer to read."""
