"""An interactive page of the theory: one HTML file that computes in the reader's browser what each teacher does."""

from tracer.explorer.page import render, write

__all__ = ["render", "write"]
