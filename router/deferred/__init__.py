"""Requests that can wait: kept in a queue, sent through a provider's batch API, asked live where that fails."""
