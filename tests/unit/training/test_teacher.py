import copy

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from tests.models import KERNELS, RandomBatches, TinyDualEncoder
from tests.tolerances import FLOAT32_AVERAGE, FLOAT64
from tracer.averaging import Beta, Clock, Exponential, Static, Uniform
from tracer.training.teacher import Teacher

BATCH = RandomBatches(1)[0][:2]


class Masked(nn.Module):
    """A linear map with an attention mask, as a text tower has: minus infinity, and not saved."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("mask", torch.full((2, 2), float("-inf")).triu(1), persistent=False)


def perturb(model, rng=None):
    """Move every parameter and floating-point buffer, as training would."""
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor += 0.1 * torch.randn(tensor.shape, generator=rng).to(tensor.dtype)


def followed(teacher, student, steps):
    """Train a little at random, the teacher following; every student on the way, the first included."""
    students = [copy.deepcopy(student.state_dict())]
    for _ in range(steps):
        perturb(student)
        teacher.update()
        students.append(copy.deepcopy(student.state_dict()))
    return students


def assert_same_state(mine, theirs):
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert torch.equal(value, theirs[name]), name


def test_starts_as_a_faithful_copy():
    student = TinyDualEncoder(batch_norm=True).train()
    teacher = Teacher(student, Beta(), Clock(10))
    assert_same_state(teacher.module.state_dict(), student.state_dict())
    expected = student.eval()(*BATCH)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(teacher(*BATCH)[:3], expected[:3], strict=True))
    shared = {p.data_ptr() for p in student.parameters()} & {p.data_ptr() for p in teacher.module.parameters()}
    assert not shared


@pytest.mark.parametrize("update_every", [1, 3])
@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, FLOAT32_AVERAGE), (torch.float64, FLOAT64)], ids=str)
def test_is_the_weighted_average_of_past_students(kernel, update_every, dtype, tolerance):
    student, clock = TinyDualEncoder().to(dtype), Clock(20, update_every)
    teacher = Teacher(student, kernel, clock)
    students = followed(teacher, student, 20)[::update_every]
    weights = kernel.weights(clock)
    assert len(students) == len(weights)
    for name, averaged in teacher.module.state_dict().items():
        expected = sum(w * past[name].double() for w, past in zip(weights, students, strict=True))
        torch.testing.assert_close(averaged.double(), expected, atol=tolerance, rtol=0)


def test_follows_no_step_between_updates():
    student = TinyDualEncoder()
    teacher = Teacher(student, Uniform(), Clock(20, 5))
    before = copy.deepcopy(teacher.module.state_dict())
    followed(teacher, student, 4)
    assert_same_state(teacher.module.state_dict(), before)
    followed(teacher, student, 1)
    assert not torch.equal(teacher.module.words.weight, before["words.weight"])


@pytest.mark.parametrize("buffers", ["average", "copy"])
def test_batch_norm_statistics_follow_the_policy(buffers):
    student = TinyDualEncoder(batch_norm=True).train()
    teacher = Teacher(student, Uniform(), Clock(4), buffers)
    seen = [student.image[1].running_mean.clone()]
    for step in range(4):
        student(*RandomBatches(4)[step][:2])
        teacher.update()
        seen.append(student.image[1].running_mean.clone())
    expected = torch.stack(seen).mean(dim=0) if buffers == "average" else seen[-1]
    torch.testing.assert_close(teacher.module.image[1].running_mean, expected, atol=FLOAT32_AVERAGE, rtol=0)
    assert not torch.allclose(torch.stack(seen).mean(dim=0), seen[-1], atol=100 * FLOAT32_AVERAGE)
    assert teacher.module.image[1].num_batches_tracked == 4


def test_infinite_masks_stay_masks():
    student = Masked()
    teacher = Teacher(student, Exponential(0.5), Clock(3))
    for _ in range(3):
        teacher.update()
    assert torch.equal(teacher.module.mask, student.mask)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_low_precision_students_have_a_float32_average(dtype):
    """The average of 1 and 1 + 2^-7, a quarter of which bfloat16 cannot add to 1."""
    student = nn.Linear(1, 1, bias=False).to(dtype)
    student.weight.data.fill_(1)
    teacher = Teacher(student, Exponential(0.75), Clock(1))
    student.weight.data.fill_(1 + 2**-7)
    teacher.update()
    assert teacher.module.weight.dtype == torch.float32
    assert teacher.module.weight.item() == 1 + 2**-9
    assert student.weight.dtype == dtype


def test_receives_no_gradient():
    student = TinyDualEncoder()
    teacher = Teacher(student, Uniform(), Clock(10))
    target = teacher(*BATCH)
    assert not any(part.requires_grad for part in target[:3])
    loss = (student(*BATCH).image - target.image).square().sum() + student(*BATCH).image.sum()
    loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in teacher.module.parameters())
    assert all(p.requires_grad for p in student.parameters())


def test_always_evaluates():
    """Dropout and batch statistics never reach the teacher, whatever mode the student is in."""
    student = TinyDualEncoder(dropout=0.5, batch_norm=True).train()
    teacher = Teacher(student, Uniform(), Clock(10))
    followed(teacher, student, 2)
    assert not any(module.training for module in teacher.module.modules())
    assert torch.equal(teacher(*BATCH).image, teacher(*BATCH).image)
    assert student.training


@pytest.mark.parametrize("kernel", KERNELS, ids=repr)
def test_saved_state_goes_on_to_the_last_bit(kernel):
    student, clock = TinyDualEncoder(batch_norm=True), Clock(20, 2)
    teacher = Teacher(student, kernel, clock)
    followed(teacher, student, 7)
    resumed = Teacher(student, kernel, clock)
    resumed.load_state_dict(copy.deepcopy(teacher.state_dict()))
    for _ in range(13):
        perturb(student)
        teacher.update()
        resumed.update()
    assert_same_state(resumed.state_dict(), teacher.state_dict())
    assert resumed.steps == 20


def test_loaded_state_is_a_copy():
    student = TinyDualEncoder()
    teacher = Teacher(student, Uniform(), Clock(10))
    state = teacher.state_dict()
    kept = copy.deepcopy(state)
    other = Teacher(student, Uniform(), Clock(10))
    other.load_state_dict(state)
    followed(other, student, 1)
    assert_same_state(state, kept)


def test_static_teacher_is_the_pretrained_model():
    student = TinyDualEncoder(batch_norm=True)
    teacher = Teacher(student, Static(), Clock(10))
    before = copy.deepcopy(student.state_dict())
    followed(teacher, student, 10)
    assert_same_state(teacher.module.state_dict(), before)


def test_static_teacher_counts_no_batches_either():
    student = TinyDualEncoder(batch_norm=True).train()
    teacher = Teacher(student, Static(), Clock(10))
    student(*BATCH)
    teacher.update()
    assert student.image[1].num_batches_tracked == 1
    assert teacher.module.image[1].num_batches_tracked == 0


def test_teacher_without_memory_is_its_student():
    """A momentum of 0 is a rate of 1: the newest student is everything, to the last bit."""
    student = TinyDualEncoder(batch_norm=True)
    teacher = Teacher(student, Exponential(0.0), Clock(4, 2))
    start, _, second, third, fourth = followed(teacher, student, 4)
    assert_same_state(teacher.module.state_dict(), fourth)
    assert any(not torch.equal(third[name], fourth[name]) for name in third)
    teacher.load_state_dict({"steps": torch.tensor(1), **{f"module.{name}": value for name, value in start.items()}})
    student.load_state_dict(second)
    teacher.update()
    assert_same_state(teacher.module.state_dict(), second)


def compiled_in_place(model):
    model.compile(backend="eager")
    return model


@pytest.fixture
def distributed(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


WRAPPERS = {
    "compiled": lambda model: torch.compile(model, backend="eager"),
    "compiled in place": compiled_in_place,
    "distributed": nn.parallel.DistributedDataParallel,
    "compiled and distributed": lambda model: torch.compile(nn.parallel.DistributedDataParallel(model), backend="eager"),
    "prepared": lambda model: Accelerator().prepare(model),
    "prepared for bf16": lambda model: Accelerator(mixed_precision="bf16").prepare(model),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrapped_students_are_followed(wrapper, distributed):
    plain = TinyDualEncoder()
    reference = copy.deepcopy(plain)
    wrapped = WRAPPERS[wrapper](plain)
    teacher = Teacher(wrapped, Uniform(), Clock(10))
    assert teacher.module.state_dict().keys() == reference.state_dict().keys()
    with torch.no_grad():
        for parameter in wrapped.parameters():
            parameter += 1
    teacher.update()
    for name, value in reference.named_parameters():
        torch.testing.assert_close(teacher.module.get_parameter(name), value + 0.5)
    assert teacher(*BATCH).image.shape == reference(*BATCH).image.shape


def test_called_compiled_model_can_still_be_copied():
    compiled = torch.compile(TinyDualEncoder(), backend="eager")
    features = compiled(*BATCH)
    assert torch.equal(Teacher(compiled, Uniform(), Clock(10))(*BATCH).image, features.image)


def test_unknown_buffer_policy_is_refused():
    with pytest.raises(ValueError, match="buffers"):
        Teacher(TinyDualEncoder(), Uniform(), Clock(1), "forget")


def test_passes_on_any_arguments():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(2.0))

        def forward(self, x, *more, scale=1.0):
            return self.weight * x * scale + len(more)

    teacher = Teacher(Model(), Uniform(), Clock(2))
    answer = teacher(torch.tensor(3.0), "a", "b", scale=10.0)
    assert answer.item() == 62.0
    assert not answer.requires_grad


def test_average_stays_where_it_was_made():
    """Neither follows the other to a device; a student moved to another precision, as to another device, is fetched from there."""
    student = TinyDualEncoder()
    teacher = Teacher(student, Uniform(), Clock(4))
    elsewhere = Teacher(copy.deepcopy(student), Uniform(), Clock(4))
    elsewhere.student.double()
    for each in (teacher, elsewhere):
        perturb(each.student, torch.Generator().manual_seed(3))
        each.update()
        assert {p.dtype for p in each.module.parameters()} == {torch.float32}
    for mine, theirs in zip(teacher.module.parameters(), elsewhere.module.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    teacher.module.to("meta")
    teacher.update()
    assert {p.device.type for p in teacher.module.parameters()} == {"meta"}
    assert {p.device.type for p in student.parameters()} == {"cpu"}
