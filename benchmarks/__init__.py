"""Measurements: `python -m benchmarks` gathers every module here that has a `run() -> list[dict]`.

A row of `run` holds `name`, `median` and `unit`, and may hold `ratio` (to what `notes` says) and `notes`. Medians are
of repeated calls in one process, the plain form of a thing beside its fast one.
"""
