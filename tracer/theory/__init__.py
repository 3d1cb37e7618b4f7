"""The theory of robust contrastive fine-tuning, as a library one computes with (numpy and scipy; sympy for the proofs).

    problem = theory.Problem.from_pairs(images, texts, initial_weights)  # (n, d), (n, k), (k, d)
    path = theory.gradient_descent(problem, theory.Distillation(0.9), learning_rate=0.1, steps=1000)
    path.weights(1000), path.gap(np.arange(0, 1001, 10)), path.limit()

Linearised, contrastive fine-tuning is matrix least squares against the contrastive target matrix; each strategy's solution splits
into a part in the task subspace and one in its complement. Source: TRACER, arXiv 2605.29380; single docstrings say what is this
project's own.
"""

from tracer.theory.coverage import coverage, kappa
from tracer.theory.geometry import Geometry, Risk, describe, forgetting, ood_risk
from tracer.theory.gradient_descent import gradient_descent
from tracer.theory.gradient_flow import gradient_flow
from tracer.theory.limits import anchor_bias, limit
from tracer.theory.linearisation import Linearisation
from tracer.theory.metrics import Inputs, Metric, Parameter, Spectral
from tracer.theory.moments import Moments, second_moment
from tracer.theory.optima import optimum
from tracer.theory.path import WeightPath
from tracer.theory.populations import Population
from tracer.theory.problem import Problem
from tracer.theory.proximal import ProximalPath, proximal
from tracer.theory.stability import max_learning_rate
from tracer.theory.strategies import L2SP, LPFT, STRATEGIES, Distillation, FineTuning, Strategy, WeightDecay, WiSEFT, ZeroShot
from tracer.theory.subspace import Subspace
from tracer.theory.tower_maps import TowerMaps
from tracer.theory.two_towers import TwoTowers

__all__ = [
    "L2SP",
    "LPFT",
    "STRATEGIES",
    "Distillation",
    "FineTuning",
    "Geometry",
    "Inputs",
    "Linearisation",
    "Metric",
    "Moments",
    "Parameter",
    "Population",
    "Problem",
    "ProximalPath",
    "Risk",
    "Spectral",
    "Strategy",
    "Subspace",
    "TowerMaps",
    "TwoTowers",
    "WeightDecay",
    "WeightPath",
    "WiSEFT",
    "ZeroShot",
    "anchor_bias",
    "coverage",
    "describe",
    "forgetting",
    "gradient_descent",
    "gradient_flow",
    "kappa",
    "limit",
    "max_learning_rate",
    "ood_risk",
    "optimum",
    "proximal",
    "second_moment",
]
