"""A run from its configuration to its report, and many of them."""
