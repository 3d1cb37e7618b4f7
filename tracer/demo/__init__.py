"""The demonstration: every strategy on the embedded world."""
