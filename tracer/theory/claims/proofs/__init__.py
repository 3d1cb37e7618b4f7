"""For each subject a module of its claims' formulas and proofs. They need sympy, which nothing else in the theory does."""
