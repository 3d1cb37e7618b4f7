import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.models import TinyDualEncoder
from tests.tolerances import FLOAT32, FLOAT64
from tracer.models.merging import interpolate, model_stock, stock_ratio


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


class TestModelStock:
    def moved(self, anchor, *moves):
        """Copies of the anchor, each with its image projection moved."""
        students = [copy.deepcopy(anchor) for _ in moves]
        with torch.no_grad():
            for student, move in zip(students, moves, strict=True):
                student.image_projection.weight += move
        return students

    @pytest.mark.parametrize(("count", "degrees"), [(2, 60), (2, 10), (3, 45)])
    def test_ratio_follows_the_angle(self, count, degrees):
        """k unit vectors, every two at one angle: their Gram matrix is known, and so are the vectors."""
        cosine = torch.tensor(degrees * torch.pi / 180, dtype=torch.float64).cos()
        gram = torch.full((count, count), cosine.item(), dtype=torch.float64).fill_diagonal_(1)
        lengths = torch.arange(1, count + 1, dtype=torch.float64)[:, None]  # only angles count
        ratio = stock_ratio(lengths * torch.linalg.cholesky(gram))
        assert ratio.item() == pytest.approx((count * cosine / (1 + (count - 1) * cosine)).item(), abs=FLOAT64)
        assert 0.5 < ratio < 1

    def test_each_tensor_goes_its_own_way(self):
        """At 60 degrees two models give t = 2/3 of their mean; what both left alone stays to the bit."""
        anchor = TinyDualEncoder()
        direction, other = torch.zeros(2, 4, 8)
        direction[0, 0], other[0, 0], other[1, 1] = 1.0, 0.5, 0.75**0.5
        merged = model_stock(anchor, self.moved(anchor, direction, other))
        expected = anchor.image_projection.weight + 2 / 3 * (direction + other) / 2
        torch.testing.assert_close(merged.image_projection.weight, expected, atol=FLOAT32, rtol=0)
        for name, value in merged.named_parameters():
            assert torch.equal(value, anchor.get_parameter(name)) == (name != "image_projection.weight")

    def test_equal_students_are_the_result(self):
        anchor = TinyDualEncoder()
        students = self.moved(anchor, torch.ones(4, 8), torch.ones(4, 8))
        merged = model_stock(anchor, students)
        torch.testing.assert_close(merged.image_projection.weight, students[0].image_projection.weight, atol=FLOAT32, rtol=0)

    @pytest.mark.parametrize("sign", [-1.0, 0.0])
    def test_opposite_and_unmoved_students_leave_the_anchor(self, sign):
        anchor = TinyDualEncoder()
        merged = model_stock(anchor, self.moved(anchor, torch.ones(4, 8), sign * torch.ones(4, 8)))
        assert torch.equal(merged.image_projection.weight, anchor.image_projection.weight)

    def test_one_student_is_refused(self):
        with pytest.raises(ValueError, match="at least two"):
            model_stock(TinyDualEncoder(), [TinyDualEncoder()])
