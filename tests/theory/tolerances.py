"""Tolerances of the theory's tests, each with its reason; those shared with the trainer's tests are in tests/tolerances.py."""

# Hypergeometric means with parameters up to 3: 20 to 130 positive terms, or logarithms of size 50 rounded at 2e-16, so 2e-14.
MEANS = 1e-13

# The same with parameters up to 100, where logarithms of Gamma functions reach 700 and terms take 1000 roundings.
LARGE_MEANS = 3e-12

# A step of the recursion rounds each number three times at 1e-16; up to 3000 steps of a contraction add up to a few 1e-13.
RECURSION = 1e-11

# Closed forms of a few powers and differences that do not cancel; powers t log(theta) lose |t log theta| <= 700 units.
CLOSED_FORM = 1e-12

# A ratio of successive errors settles at the slow factor; after 4000 steps the fast one is gone and round-off is left.
RATE = 1e-10

# A sum over a run that is long enough for its tail to be below 1e-11 adds up to 10^5 rounded terms.
BUDGET = 1e-9

# Tail of a power law of exponent 3.2 beyond x t = 22,000, relative to its sum.
POWER_LAW_BUDGET = 1e-7

# Steps of 0.02 and less leave second-order terms of a percent in a slope of 1.
ORDER = 0.1

# A slope between t and 2 t is off by a few beta / (x t), with x t above 3000.
EXPONENT = 2e-3

# A power law's constant is off by about beta^2 / (x t), with x t of 12,000 for beta = 0.3 and 24,000 for beta up to 2.5.
CONSTANT = 4e-4

# Slope of the gaps' sum between 2500, 5000 and 10,000 steps of size 1: as that of the gap itself.
GROWTH = 2e-3

# A second derivative by central differences of step 1e-5: round-off of 1e-16 / 1e-5, and 1e-10 of the fourth derivative.
DIFFERENCES = 1e-7

# A Beta kernel's asymptotic form at step size 0.02 and x T = 400 is off by O(x) + O(1 / (x T)): 0.7 % for exponents up to 2.
HORIZON = 0.01

# A share of 10^-3 of the step size on either side of its bound: far outside what rounding does to a spectral radius.
STABILITY_MARGIN = 1e-3

# Eigenvalues of a 3 x 3 matrix that is not normal, next to a double one: the square root of round-off, 2e-8.
SPECTRAL_RADIUS = 1e-7

# Second moments of numbers of size 1 are sums of a dozen to some thousand products: 1e-15, in another order.
MOMENTS = 1e-13

# Quadratic forms of up to 40 numbers of size 1 to 5, relative to their largest terms.
LOSS = 1e-12

# Projections and optima of problems whose eigenvalues span four decades: round-off of 1e-16 times the condition of 1e4, or its
# square where an optimum is compared with one by least squares.
GEOMETRY = 1e-10

# Mean of 300 squared errors, each with a standard deviation of up to 1.3 of its mean: 0.08; and terms of 1 / n at n = 50.
SAMPLING = 0.2

# Slope fitted to four of those over a factor of 64 in n.
SAMPLING_ORDER = 0.05

# Minimisers of quadratics with up to four decades of eigenvalues, against least squares on stacked rows: 1e-16 times a condition
# of 1e4 for the normal equations, and of 1e3 more where a metric of small strength joins.
LIMIT = 1e-10

# A quasi-Newton method stops where a step of 1e-8 no longer lowers a loss of size 1 by its last digit.
MINIMISER = 1e-6

# Linear recursions that have converged beyond round-off: what is left are the 1e-16 of each step, times the slowest time scale.
LONG_RUN = 1e-11

# Ends of runs of 4000 to 16,000 steps whose teacher slows down with the run, extrapolated twice: of an error in 1 / (eta steps),
# times rates of up to 10, the third order is left.
SLOWED = 1e-5

# Gradient flow is integrated on 20 steps for each factor e in time, to up to 7e-10 of the initial error.
FLOW = 1e-8

# 10,000 roundings of a mode's student and teacher, 1e-16 each, relative to themselves as they decay together: 1e-12.
VANISHING_GAP = 1e-11

# A spectral radius is seen to pass 1 once it exceeds it by 1e-6 (double eigenvalues are known to 1e-8), in a bisection to 1e-7.
STABLE_STEP = 1e-5

# Roots are found to 1e-10 in the logarithm of strength or exponent, to 1e-14 in a momentum.
DESIGN = 1e-9

# scipy's incomplete beta function with parameters up to 700, and logarithms of 1000 rounded at 1e-16.
HAZARD = 1e-11
