"""Models with two towers: what trainer and losses rely on, and what satisfies it."""
