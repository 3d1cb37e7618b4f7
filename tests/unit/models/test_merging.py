import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.models import TinyDualEncoder
from tests.tolerances import FLOAT32, FLOAT64, POWER
from tracer.models import depth
from tracer.models.merging import add_task_vectors, interpolate, model_stock, stock_ratio


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


class TestTaskVectors:
    """Against the definitions written out with numpy, tensor by tensor, in float64."""

    def plain(self, model):
        return {name: value.double().numpy() for name, value in model.state_dict().items() if value.is_floating_point()}

    def assert_is(self, merged, expected, wrong):
        """Each tensor is what is expected, and somewhere the wrong formula would have missed it by far."""
        found = self.plain(merged)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=FLOAT32, rtol=0)
        assert max(np.abs(wrong[name] - value).max() for name, value in expected.items()) > POWER * FLOAT32

    @pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 1.6])
    def test_the_mean_move_is_scaled(self, scale):
        anchor, students = trained(1), [trained(seed) for seed in (2, 3, 5)]
        start, ends = self.plain(anchor), [self.plain(student) for student in students]
        expected = {name: value + scale / 3 * sum(end[name] - value for end in ends) for name, value in start.items()}
        summed = {name: value + (scale or 1.0) * sum(end[name] - value for end in ends) for name, value in start.items()}
        merged = add_task_vectors(anchor, students, scale)
        self.assert_is(merged, expected, summed)
        assert merged.state_dict()["image.1.num_batches_tracked"] == students[0].state_dict()["image.1.num_batches_tracked"] == 2

    def test_scale_one_is_the_uniform_soup(self):
        students = [trained(seed) for seed in (2, 3, 5)]
        ends = [self.plain(student) for student in students]
        mean = {name: np.mean([end[name] for end in ends], axis=0) for name in ends[0]}
        self.assert_is(add_task_vectors(trained(1), students, 1.0), mean, ends[0])

    def test_of_one_student_it_is_wise_ft(self):
        anchor, student = trained(1), trained(2)
        mixed = self.plain(interpolate(anchor, student, 0.3))
        self.assert_is(add_task_vectors(anchor, [student], 0.3), mixed, self.plain(interpolate(anchor, student, 0.7)))

    def test_each_tensor_has_its_own_scale(self):
        """LiNeS: alpha + beta depth, of depths that are not a tensor's position."""
        anchor, students = trained(1), [trained(2), trained(3)]
        start, ends = self.plain(anchor), [self.plain(student) for student in students]
        depths = {name: (7 * place % 5) / 4 for place, name in enumerate(anchor.state_dict())}
        lambdas = {name: 0.25 + 0.5 * depth for name, depth in depths.items()}
        assert depth.scales(depths, 0.25, 0.5) == lambdas
        mean = {name: sum(end[name] - value for end in ends) / 2 for name, value in start.items()}
        expected = {name: value + lambdas[name] * mean[name] for name, value in start.items()}
        turned = {name: value + (0.75 - 0.5 * depths[name]) * mean[name] for name, value in start.items()}
        self.assert_is(add_task_vectors(anchor, students, depth.scales(depths, 0.25, 0.5)), expected, turned)

    def test_lines_without_slope_is_scaling(self):
        anchor, students = trained(1), [trained(2), trained(3)]
        names = list(anchor.state_dict())
        level, sloped = (
            add_task_vectors(anchor, students, depth.scales({name: place / 9 for place, name in enumerate(names)}, 0.4, beta))
            for beta in (0.0, 0.1)
        )
        scaled = self.plain(add_task_vectors(anchor, students, 0.4))
        self.assert_is(level, scaled, self.plain(sloped))

    def test_inputs_are_not_changed(self):
        models = [trained(1), trained(2), trained(3)]
        before = copy.deepcopy([model.state_dict() for model in models])
        with torch.no_grad():
            for parameter in add_task_vectors(models[0], models[1:], 0.5).parameters():
                parameter.zero_()
        for model, state in zip(models, before, strict=True):
            assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
