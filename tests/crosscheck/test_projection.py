"""On a whole open_clip model of which only the last map of the image tower is trained, the closed form is what training gives."""

import numpy as np
import pytest
import torch

from tests.tolerances import POWER
from tracer import theory
from tracer.averaging import Beta, Exponential, Static
from tracer.crosscheck.history import deviation
from tracer.crosscheck.projection import projected, train_projection
from tracer.models import clip

STEPPING = {"learning_rate": 0.05, "steps": 25}
REAL_NETWORK = 1e-8  # of the weights: float64 towers of many layers run twice, once for the features and once with the map
STRATEGIES = {
    "fine-tuning": theory.Distillation(0.0),
    "static teacher": theory.Distillation(0.7, Static()),
    "EMA": theory.Distillation(0.7, Exponential(0.9)),
    "WMA": theory.Distillation(0.7, Beta(0.5, 0.5)),
}


@pytest.fixture(params=["glyphs", "tiny-vit", "tiny-rn50"])
def model(request, architectures):
    torch.manual_seed(0)
    return clip.create(request.param, "0" if request.param == "glyphs" else None)


def pairs(encoder):
    rng = np.random.default_rng(0)
    captions = ["the letter a", "the digit one", "a photo of the digit two", "the letter h"] * 3
    pixels = rng.integers(256, size=(len(captions), 32, 32, 3), dtype=np.uint8)
    return encoder.preprocess(pixels).double(), encoder.tokenize(captions)


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_the_closed_form_is_the_trained_projection(model, strategy):
    network = model.model.double().eval()
    posed = projected(network, *pairs(model))
    size = float(posed.problem.eigenvalues[0])
    stepping = {**STEPPING, "learning_rate": STEPPING["learning_rate"] / size}
    before = {name: value.clone() for name, value in network.state_dict().items()}
    run = train_projection(network, posed, strategy, **stepping)
    path = theory.gradient_descent(posed.problem, strategy, **stepping)
    steps = np.arange(stepping["steps"] + 1)
    null = theory.gradient_descent(posed.problem, theory.Distillation(0.3, Exponential(0.5)), **stepping)
    assert deviation(path.weights(steps), run.student) <= REAL_NETWORK
    assert deviation(path.teacher(steps), run.teacher) <= REAL_NETWORK
    assert deviation(null.weights(steps), run.student) >= POWER * REAL_NETWORK
    assert deviation(posed.problem.initial_weights, run.student) >= POWER * REAL_NETWORK
    changed = {name for name, value in network.state_dict().items() if not value.equal(before[name])}
    assert len(changed) in (1, 2)  # the map, and its bias where it has one
