"""The trainer on a problem of the theory, and what is compared."""
