"""What metrics hold that no two runs share."""

PACE = {"images_per_second", "peak_memory_bytes"}


def without_pace(line):
    """A line of metrics without how fast the run was and how much memory it took."""
    return {name: value for name, value in line.items() if name not in PACE}
