import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.models import TinyDualEncoder
from tests.tolerances import FLOAT32
from tracer.evaluation.interpolation import interpolate


def trained(seed):
    model = TinyDualEncoder(seed=seed, batch_norm=True)
    for _ in range(seed):
        model.image(torch.randn(4, 6))
    return model


@given(st.floats(0, 1))
def test_every_saved_tensor_is_interpolated(coefficient):
    anchor, student = trained(1), trained(2)
    start, end = anchor.state_dict(), student.state_dict()
    for name, mixed in interpolate(anchor, student, coefficient).state_dict().items():
        if mixed.is_floating_point():
            expected = (1 - coefficient) * start[name].double() + coefficient * end[name].double()
            torch.testing.assert_close(mixed.double(), expected, atol=FLOAT32, rtol=0)
        else:
            assert torch.equal(mixed, end[name])


@pytest.mark.parametrize("coefficient", [0.0, 1.0])
def test_ends_are_exact(coefficient):
    anchor, student = trained(1), trained(2)
    mixed, expected = interpolate(anchor, student, coefficient), student if coefficient else anchor
    for name, value in mixed.named_parameters():
        assert torch.equal(value, expected.get_parameter(name))


def test_inputs_are_not_changed():
    anchor, student = trained(1), trained(2)
    before = copy.deepcopy((anchor.state_dict(), student.state_dict()))
    mixed = interpolate(anchor, student, 0.5)
    with torch.no_grad():
        for parameter in mixed.parameters():
            parameter.zero_()
    for model, state in zip((anchor, student), before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("coefficient", [-0.1, 1.1, float("nan")])
def test_extrapolation_is_refused(coefficient):
    with pytest.raises(ValueError, match="coefficient"):
        interpolate(trained(1), trained(2), coefficient)
