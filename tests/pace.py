"""Metrics without what no two runs share."""

from tracer.training.throughput import NAMES


def without_pace(line):
    """A line of metrics without how fast the run was and how much memory it took."""
    return {name: value for name, value in line.items() if name not in NAMES}
