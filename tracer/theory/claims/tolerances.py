"""How far a claim's prediction may lie from an independent computation; each with its reason."""

# Some hundred to some thousand float64 operations on numbers of size 1, those of a contraction, which forgets its rounding.
EXACT = 1e-10

# A mean over 10^4 to 10^5 rounded terms, or descent that ends where steps fall below the rounding of the weights.
SUMMED = 1e-8

# Central differences of a quadratic, steps of size 1: rounding of losses of size 100.
DIFFERENCES = 1e-9

# An expansion to second order at logits of 1e-4: the third order, relative to the second.
THIRD_ORDER = 2e-3

# scipy's adaptive integrators at their tightest settings.
INTEGRATED = 1e-7

# Power laws at x t of 1000 and twice that, their first correction extrapolated away: a few (beta / (x t))^2 are left.
ASYMPTOTIC = 2e-4

# The same with a correction in the step size too, of 0.02 and 0.01.
HORIZON = 2e-3

# An exponent between T = 4000 and 16,000 of a product whose corrections are of order T^-min(1, 2b).
EXPONENT = 1e-3

# A step size at which 4000 steps neither grow nor shrink, extrapolated likewise, relative to the bound.
BOUNDARY = 5e-4

# The lag at the end, itself of order 10^-2, with a correction of its own order, extrapolated away.
LAG = 5e-3

# Central differences with steps of 1e-4 and less in logits: 1e-8 times third derivatives, and rounding of 1e-16 / 1e-5.
FINITE_DIFFERENCES = 1e-6

# Conjugate gradients stop at a residual of 1e-10 of the gradient, which small curvatures magnify.
SOLVED = 1e-8

# A mass on a stretch of 10^-5 of the run against its density, and sums over as many: a few times the stretch.
STRETCH = 2e-4

# Nodes of updates 10^6 steps apart, which the half step at the start shifts by 10^-6 of that.
SPARSE = 1e-5

# After 10^5 steps an average whose weights fall like t^-0.7 and faster has at most 10^-3 of the start.
FOLLOWED = 2e-3
