"""The symbols of the claims' formulas, each explained; where a letter has several meanings the subject decides."""

import re

import sympy as sp

from tracer.theory.claims import CLAIMS

SYMBOLS = {
    r"n, d, k": r"numbers of pairs, of image features, and of dimensions of an embedding; elsewhere :math:`k` counts iterates",
    r"X, Z": r"image features (d, n) and text embeddings (k, n), a column for each pair",
    r"H, J": r":math:`H = I - J/n` takes the mean off, :math:`J` being all ones",
    r"W, W_0, \bar W": r"the image map that is trained (k, d), its pretrained value, and the teacher",
    r"W_t, W_\infty, W_{\mathrm{FT}}": r"the map after :math:`t` steps, where descent ends, and where direct fine-tuning does",
    r"W^*, W_*": r"the optimum of the task alone",
    r"\Sigma, C": r"second moment of the features, :math:`XX^T/n`, and cross-covariance of texts and images, :math:`ZHX^T/n`",
    r"B, C_B, \mathbb{E}": r"pairs in a batch, its cross-covariance, and the mean over batches",
    r"s_j, v_j": r"eigenvalues and eigenvectors of :math:`\Sigma`",
    r"P, Q": r"projectors on the task subspace, which the images span, and on its complement",
    r"S, \tau": r"similarities :math:`X^TW^TZ` of images and texts, and the temperature that divides them",
    r"L, \nabla L": r"the linearised contrastive loss and its gradient",
    r"\ell, \nabla\ell": r"the contrastive loss and its gradient; of a mode :math:`\ell` is the curvature that a teacher adds",
    r"P, R, \Delta, \mathcal{H}": r"softmaxes of the logits over texts and over images, a direction in the weights, the Hessian",
    r"L_{\mathrm{MMCL}}, R, Y": r"the published loss (equation 1), its regulariser, and the published target :math:`Z(nI - J)`",
    r"\rho, \mu, \lambda": r"weights of the embeddings' squared norm and of weight decay; strength of the pull to a teacher",
    r"D, K": r"the metric in which student and teacher are compared, and the loss's curvature :math:`\rho\Sigma + \mu I`",
    r"\alpha": r"the metric is :math:`\Sigma^{1 - \alpha}`; with an index, the weight of an iterate in the teacher",
    r"F_\Sigma, F_I": r"squared distance from the pretrained map, in function space and in the weights",
    r"\Pi_A, A^+, B": r"of any quadratic: projector on the operator's range, its pseudo-inverse, and the linear part",
    r"D_{PQ}, \Sigma_P, G_P, \Delta_P, \Delta_Q": r"with replay: blocks of metric, second moment, initial gradient, displacement",
    r"\kappa'": r"with replay: :math:`\eta\lambda m/(1 - m)`",
    r"\Sigma_o, F_o, W_\lambda": r"second moment of the inputs to keep, forgetting on them, where strength :math:`\lambda` ends",
    r"\kappa, c(\delta), \bar d": r"with a replay pool: worst ratio of forgetting, coverage, mean eigenvalue of :math:`D`",
    r"u_i, \kappa_i": r"eigenvectors and eigenvalues of :math:`W_TW_T^T`, :math:`W_T` being the published text map",
    r"\sigma, \eta": r"curvature of a mode of the loss, and the step size",
    r"x, q, p": r":math:`\eta(\sigma + \ell)`, :math:`\sigma/(\sigma + \ell)` and :math:`1 - q`",
    r"u_t, \bar u_t, g_t": r"in a mode: errors of student and teacher, from :math:`u_0` on, and the gap between them",
    r"E_t": r"what is left of the teacher's task error after step :math:`t`",
    r"t, T": r"steps so far, and of the whole run",
    r"\omega_t, r_t": r"rate of the teacher's update: the share of the newest student in it",
    r"\omega_{0\mid t}": r"share of the pretrained model in the teacher after step :math:`t`",
    r"\omega_i, \sigma_{ij}": r"eigenvalues of the texts' second moment, and curvatures of decoupled modes",
    r"m": r"momentum of an EMA; with the published target, how often each pair is presented",
    r"a, b": r"with an EMA :math:`1 - \eta(\sigma + \ell)` and :math:`\eta\ell`; elsewhere the parameters of a Beta kernel, or "
    r":math:`a` the share of WiSE-FT",
    r"\theta_+, \theta_-": r"the two eigenvalues of a step with an EMA teacher",
    r"\gamma, \lambda_1, \lambda_2, s": r"of small steps: speed of an EMA teacher, the two rates of change, and time",
    r"\beta, \kappa": r"exponent of a power-law kernel, or of a Beta kernel at both ends, and :math:`\beta q`",
    r"y": r"what a Beta mixture runs over",
    r"F": r"mass that a kernel has put on the past, by progress",
    r"c, \theta": r"progress :math:`c = \sin^2\theta`; of small steps :math:`c` is :math:`\sigma + \ell`",
    r"c_1, c_2": r"offsets of the clock",
    r"N, j": r"number of updates, and one of them",
    r"G, C_2, \mathrm{SVD}_k": r"product of two towers, their cross-covariance, and truncation to :math:`k` modes",
    r"s_0, c": r"of two towers: a singular value of their product at first, and of their cross-covariance",
    r"s": r"in a bound, the step it starts from; in the printed proof of dominance, the share of the error that is left",
}
"""Meanings by symbols, in the order of the theory."""
_LETTER = re.compile(r"\\[A-Za-z]+|(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")
_MARKS = {r"\bar", r"\top", r"\infty", r"\max", r"\sup", r"\mathrm", r"\mathbb", r"\mathcal", r"\mid"}


def letters(latex: str) -> set[str]:
    """Letters in it that stand alone, and commands for letters."""
    return set(_LETTER.findall(latex)) - _MARKS


def unexplained() -> set[str]:
    """Letters of the claims' formulas that no symbol has."""
    kinds = sp.Symbol, sp.MatrixSymbol, sp.IndexedBase
    atoms = {atom for claim in CLAIMS.values() for atom in claim.proof.formula.atoms(*kinds)}
    functions = {atom.func for claim in CLAIMS.values() for atom in claim.proof.formula.atoms(sp.core.function.AppliedUndef)}
    used = set[str]().union(*(letters(sp.latex(each)) for each in (*atoms, *functions)))
    return used - letters(" ".join(SYMBOLS))
