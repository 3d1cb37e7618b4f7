"""Every tolerance of the tests, each with its reason."""

# A few hundred float64 operations on numbers of size 1 lose a few hundred units of 2e-16.
FLOAT64 = 1e-12

# Losses in float32: logits are sums of a few products, 6e-8 each, and log-softmax adds as much again.
FLOAT32 = 1e-6

# scipy's regularised incomplete beta function is good to about 1e-14 of its value; weights are differences of it.
BETA_WEIGHTS = 1e-11

# A weight in the tail, relative to itself: F(end) - F(start) of neighbours that differ by at least a few percent of themselves,
# each known to 1e-14 of its value, from boundaries stored to 1e-16 and known to 1e-13 of what is left above them.
TAIL = 1e-10

# A boundary 1e-6 below 1 is stored to 1e-16, so what is left above it is known to 1e-10, and its 4th power to 4e-10.
CANCELLATION = 1e-8

# A teacher is a float32 sum over up to 40 updates, each rounded once (6e-8): convex combinations do not
# let errors grow.
FLOAT32_AVERAGE = 4e-6

# 20 float32 steps whose sums over the batch are taken in another order: each adds a few units of 6e-8 to features and weights.
FLOAT32_TRAINING = 5e-6

# 200 steps of a contracting linear recursion in float64, written in another order of operations.
LINEAR_RECURSION = 1e-11

# Up to 40 steps of the same recursion, solved in the eigenbasis of the second moment: each step errs by a few 1e-16.
THEORY_AGAINST_TRAINER = 1e-11

# bfloat16 keeps 8 bits: towers of two layers are right to about 2^-8 per operation.
BFLOAT16 = 3e-2

# Two encoders with the same weights on the same inputs differ by nothing at all, batch sizes by float32 round-off.
BATCHED_LOGITS = 1e-4

# The explorer's page and the theory compute the same formulas in float64, over up to 10,000 steps.
PAGE = 1e-6

# The page's special functions: logarithms of Gamma functions up to 30, each rounded at 2e-16, in exponents.
PAGE_FUNCTIONS = 1e-11

# Numbers below this lose their digits to underflow; the page takes them for 0.
VANISHED = 1e-290

# A test has power if a wrong formula would miss its tolerance by this factor.
POWER = 100

# Similarities in [0, 1] of a few hundred float64 numbers, against formulas that square condition numbers of up to about 100.
SIMILARITY = 1e-9
