"""Each loop of the page on one's own training loop runs, and is the loop written out below, to the last bit."""

import copy
import re
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, SequentialSampler
from torchvision.transforms.functional import pil_to_tensor

from tests.models import TINY_ARCHITECTURES
from tests.processes import in_processes
from tests.tolerances import FLOAT32, FLOAT64, POWER
from tracer import Teacher, tracer_loss
from tracer.averaging import Beta, Clock
from tracer.models.dual_encoder import Features
from tracer.models.merging import interpolate
from tracer.training.objective import Objective, Pairing

PAGE = (Path(__file__).parents[2] / "docs" / "own_loop.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE))
BATCHES, PAIRS, ACCUMULATE, EPOCHS, STEPS = 4, 4, 2, 10, 20
CLIP, HUGGING_FACE = "PyTorch and open_clip", "Hugging Face's Trainer"
RUNNERS = {
    CLIP: "open_clip",
    "Accelerate": "accelerate",
    "Lightning": "lightning",
    HUGGING_FACE: "transformers",
}
VOCABULARY, CONTEXT = 64, 8
DIFFERENT = 1e-6
"""By what a wrong loop has to miss: about 100 units in the last place of a weight of size 0.1."""


class Stop(Exception):
    """A run that is killed."""


def needs(package):
    return pytest.mark.skipif(find_spec(package) is None, reason=f"{package} is not installed")


def pairs():
    generator = torch.Generator().manual_seed(1)
    number = BATCHES * PAIRS
    tokens = torch.randint(1, VOCABULARY - 1, (number, CONTEXT), generator=generator)
    tokens[:, -1] = VOCABULARY - 1  # the end of the text
    return list(zip(torch.randn(number, 3, 32, 32, generator=generator), tokens, strict=True))


def open_clips():
    from open_clip import CLIP

    torch.manual_seed(0)
    tiny = copy.deepcopy(TINY_ARCHITECTURES["tiny-vit"])
    tiny["text_cfg"] |= {"vocab_size": VOCABULARY, "context_length": CONTEXT}
    return CLIP(**tiny)


def transformers_clip():
    from transformers import CLIPConfig, CLIPModel

    tower = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**tower, "vocab_size": VOCABULARY, "eos_token_id": VOCABULARY - 1, "bos_token_id": 0, "pad_token_id": 0}
    vision = {**tower, "image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8))


class Tuple(nn.Module):
    """A `CLIPModel` that gives what open_clip's models give."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    @property
    def logit_scale(self):
        return self.model.logit_scale

    def forward(self, images, tokens):
        outputs = self.model(pixel_values=images, input_ids=tokens, attention_mask=torch.ones_like(tokens))
        return outputs.image_embeds, outputs.text_embeds, self.logit_scale.exp()


def written_out(model, *, as_hugging_face=False, strength=0.9):
    """Student and teacher of the loop that every recipe stands for; Hugging Face's Trainer has other defaults than torch."""
    settings = {"weight_decay": 0.0, "fused": True} if as_hugging_face else {}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, **settings)
    teacher = Teacher(model, Beta(0.5, 0.5), Clock(STEPS))
    loader = DataLoader(pairs(), PAIRS)
    for position, (images, tokens) in enumerate((batch for _ in range(EPOCHS) for batch in loader), start=1):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss, _ = tracer_loss(model(images, tokens), teacher(images, tokens), strength=strength)
        (loss / ACCUMULATE).backward()
        if position % ACCUMULATE == 0:
            if as_hugging_face:
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.param_groups[0]["lr"] = 1e-5 * (1 - teacher.steps / STEPS)
            optimizer.step()
            optimizer.zero_grad()
            teacher.update()
    return flat(model), flat(teacher.module)


def flat(module):
    return torch.cat([value.detach().flatten() for value in module.parameters()])


ON_THIS_MACHINE = {HUGGING_FACE: (("bf16=True,", "bf16=True, use_cpu=True,"),)}
"""What a recipe needs to be told where there is no GPU."""


def names_for(section):
    """What a recipe is given."""
    if section == HUGGING_FACE:
        dataset = [{"pixel_values": image, "input_ids": ids, "attention_mask": torch.ones_like(ids)} for image, ids in pairs()]
        return {"model": transformers_clip(), "dataset": dataset}
    return {"model": open_clips(), "loader": DataLoader(pairs(), PAIRS)}


def run(section, names, changed=()):
    """The names after a recipe's block, some of its words changed."""
    code = SECTIONS[section]
    for old, new in (*ON_THIS_MACHINE.get(section, ()), *changed):
        assert old in code
        code = code.replace(old, new)
    exec(code, names)
    return names


def results(section, names):
    """Student and teacher after a recipe."""
    owner = names["trainer"] if section == HUGGING_FACE else None
    if section == "Lightning":
        owner = names["trainer"].lightning_module
    teacher = owner.teacher if owner else names["teacher"]
    assert teacher.steps == STEPS
    return flat(teacher.student), flat(teacher.module)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if find_spec("transformers"):
        import transformers

        monkeypatch.setattr(transformers.Trainer, "_get_train_sampler", lambda self, *_: SequentialSampler(self.train_dataset))


@pytest.fixture(scope="module")
def references():
    """What each recipe should end in, and what a wrong one would; computed once for each model."""
    found = {}

    def of(section):
        theirs = section == HUGGING_FACE
        if theirs not in found:
            found[theirs] = [
                written_out(Tuple(transformers_clip()) if theirs else open_clips(), as_hugging_face=theirs, strength=strength)
                for strength in (0.9, 0.0)
            ]
        return found[theirs]

    return of


@pytest.mark.parametrize("section", [pytest.param(section, marks=needs(package)) for section, package in RUNNERS.items()])
def test_recipes_are_the_loop_written_out(section, workplace, references):
    right, without_distillation = references(section)
    found = results(section, run(section, names_for(section)))
    for mine, expected, null in zip(found, right, without_distillation, strict=True):
        assert torch.equal(mine, expected)
        assert (mine - null).abs().max() > DIFFERENT


def test_replay_is_the_trainers_term():
    """Nothing before the first step; after a step the trainer's term, on other images at another step, of the image tower alone."""

    def preprocess(image):
        return pil_to_tensor(image.resize((32, 32))).float() / 128 - 1

    model = open_clips().train()
    names = run("Replay", {"model": model, "preprocess": preprocess})
    assert names["replay"](0, count=4).item() < 1e-9
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            parameter.add_(torch.full_like(parameter, 1e-2 * (-1) ** index))
    images = torch.stack([preprocess(Image.fromarray(names["pool"][number])) for number in range(8, 12)])
    features = [
        Features(torch.ones(1, 8), torch.ones(1, 8), torch.ones(()), each.encode_image(images, normalize=True))
        for each in (model, names["pretrained"])
    ]
    expected = Objective({"replay_fd": 2000.0}).of_features(Pairing(*features))["replay_fd"] * 2000
    term = names["replay"](2, count=4)
    assert term.item() == pytest.approx(expected.item(), rel=FLOAT32)
    assert abs(names["replay"](3, count=4).item() / term.item() - 1) > POWER * FLOAT32
    term.backward()
    moved = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert moved == {"visual"}
    assert all(parameter.grad is None for parameter in names["pretrained"].parameters())


def run_until(step, section, monkeypatch, changed=()):
    """A recipe that is killed where it would update its teacher after so many steps; the names and how many updates there were."""
    update, updates = Teacher.update, []

    def counted(teacher):
        if teacher.steps == step:
            raise Stop
        updates.append(teacher.steps)
        update(teacher)

    names = names_for(section)
    with monkeypatch.context() as patch, suppress(Stop):
        patch.setattr(Teacher, "update", counted)
        run(section, names, changed)
    return names, len(updates)


RESUMED = {
    CLIP: (),
    "Accelerate": (
        ("for epoch in range(epochs):", 'accelerator.load_state("last")\nfor epoch in range(teacher.steps // 2, epochs):'),
    ),
    "Lightning": (),
    HUGGING_FACE: (("trainer.train()", "trainer.train(resume_from_checkpoint=True)"),),
}
"""How the page says that each recipe goes on."""


@pytest.mark.parametrize("section", [pytest.param(section, marks=needs(package)) for section, package in RUNNERS.items()])
def test_recipes_go_on_as_if_nothing_had_happened(section, workplace, monkeypatch, references):
    _, before = run_until(STEPS // 2 + 3, section, monkeypatch)
    names, after = run_until(STEPS, section, monkeypatch, RESUMED[section])
    assert before == STEPS // 2 + 3
    assert STEPS // 2 - 3 <= after <= STEPS // 2  # from the newest checkpoint, not from the start
    found = results(section, names)
    for mine, expected in zip(found, references(section)[0], strict=True):
        assert torch.equal(mine, expected)


SMOOTH = (
    ('mixed_precision="bf16", ', ""),
    ("torch.optim.AdamW(model.parameters(), lr=1e-5)", "torch.optim.SGD(model.parameters(), lr=1e-4)"),
)
"""Without bfloat16, and without Adam, which takes round-off for a direction."""
ALONE = (*SMOOTH, ("teacher(images, tokens))", "teacher(images, tokens), gather=False)"))


@needs("accelerate")
@pytest.mark.parametrize("changed", [SMOOTH, ALONE], ids=["gathered", "each alone"])
def test_two_processes_are_one(changed, workplace, tmp_path):
    doubled = [(image.double(), tokens) for image, tokens in pairs()]

    def after(size, changed):
        names = {"model": open_clips().double(), "loader": DataLoader(doubled, size)}
        return results("Accelerate", run("Accelerate", names, changed))

    def work(index):
        return after(PAIRS // 2, changed)

    whole = after(PAIRS, SMOOTH)

    for found in in_processes(tmp_path / "processes", work):
        for mine, expected in zip(found, whole, strict=True):
            error = (mine - expected).abs().max().item()
            assert error <= FLOAT64 if changed is SMOOTH else error >= POWER * FLOAT64


def test_afterwards(workplace):
    anchor = open_clips()
    names = run(CLIP, {**names_for(CLIP), "anchor": anchor})
    exec(SECTIONS["Afterwards"], names)
    halfway = flat(interpolate(anchor, names["teacher"].module, 0.5))
    assert torch.equal(flat(names["half"]), halfway)
    assert not torch.equal(halfway, flat(anchor))
    assert names["student_file"].keys() == names["teacher_file"].keys() == anchor.state_dict().keys()


def test_every_section_with_code_is_run():
    assert set(SECTIONS) == {*RUNNERS, "Replay", "Afterwards"}
    assert PAGE.count("```python") == len(SECTIONS)
