"""How far a claim's prediction may lie from an independent computation; each with its reason."""

EXACT = 1e-10  # some hundred to some thousand float64 operations on numbers of size 1, of a contraction, which forgets its rounding
SUMMED = 1e-8  # a mean over 10^4 to 10^5 rounded terms, or descent that ends where steps fall below the rounding of the weights
DIFFERENCES = 1e-9  # central differences of a quadratic, steps of size 1: rounding of losses of size 100
THIRD_ORDER = 2e-3  # an expansion to second order at logits of 1e-4: the third order, relative to the second
INTEGRATED = 1e-7  # scipy's adaptive integrators at their tightest settings
ASYMPTOTIC = 2e-4  # power laws at x t of 1000 and twice that, extrapolated: a few (beta / (x t))^2 are left
HORIZON = 2e-3  # the same with a correction in the step size too, of 0.02 and 0.01
EXPONENT = 1e-3  # between T = 4000 and 16,000 of a product whose corrections are of order T^-min(1, 2b)
BOUNDARY = 5e-4  # a step size at which 4000 steps neither grow nor shrink, extrapolated, relative to the bound
LAG = 5e-3  # the lag at the end, itself of order 10^-2, with a correction of its own order, extrapolated away
FINITE_DIFFERENCES = 1e-6  # central, with steps of 1e-4 and less in logits: 1e-8 times third derivatives, and rounding of 1e-11
SOLVED = 1e-8  # conjugate gradients stop at a residual of 1e-10 of the gradient, which small curvatures magnify
STRETCH = 2e-4  # a mass on a stretch of 10^-5 of the run against its density: a few times the stretch
SPARSE = 1e-5  # nodes of updates 10^6 steps apart, which the half step at the start shifts by 10^-6 of that
FOLLOWED = 2e-3  # after 10^5 steps an average whose weights fall like t^-0.7 and faster has at most 10^-3 of the start
