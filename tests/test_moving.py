"""The page on moving does what it says, on a tiny model under the name of a big one."""

import re
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import yaml
from open_clip import factory
from PIL import Image
from torch.nn import functional

from tests.models import TINY_ARCHITECTURES
from tests.tolerances import FLOAT32
from tracer.averaging import Clock, Exponential, Uniform
from tracer.config import loading as configuration
from tracer.models import clip
from tracer.runs import fine_tune as running
from tracer.tensor_files import load_metadata
from tracer.training.teacher import Teacher

PAGE = (Path(__file__).parents[1] / "docs" / "moving.md").read_text(encoding="utf-8")
CAPTIONS = ("a dog", "two cats", "a digit", "a letter")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """A folder with the files that the page names, and a tiny model under the names that it uses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(factory._MODEL_CONFIGS, "ViT-B-16", TINY_ARCHITECTURES["tiny-vit"])
    torch.manual_seed(0)
    Path("logs/mine/checkpoints").mkdir(parents=True)
    state = open_clip.create_model("ViT-B-16").state_dict()
    content = {"epoch": 10, "name": "mine", "state_dict": {f"module.{name}": value for name, value in state.items()}}
    torch.save(content, "logs/mine/checkpoints/epoch_10.pt")
    rng = np.random.default_rng(0)
    for i in range(8):
        Image.fromarray(rng.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(f"{i}.png")
    rows = [f"{i}.png,{CAPTIONS[i % len(CAPTIONS)]}" for i in range(8)]
    Path("pairs.csv").write_text("\n".join(["filepath,title", *rows]), encoding="utf-8")
    return tmp_path


def train_two_steps(values):
    values["optimization"] |= {"total_steps": 2, "batch_size": 4, "warmup_steps": 0}
    return running.fine_tune(configuration.validate(values, "page"))


def batches(steps):
    generator = torch.Generator().manual_seed(0)
    tokens = open_clip.get_tokenizer("ViT-B-16")(list(CAPTIONS))
    return [(torch.randn(4, 3, 32, 32, generator=generator), tokens) for _ in range(steps)]


def stepper(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(model, images, tokens):
        image, text, scale = model(images, tokens)
        functional.cross_entropy(scale * image @ text.T, torch.arange(4)).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def assert_close(mine, theirs, equal=True):
    gaps = [(a - b).abs().max().item() for a, b in zip(mine.parameters(), theirs.parameters(), strict=True)]
    assert (max(gaps) <= 10 * FLOAT32) == equal


def test_the_page_from_top_to_bottom(workplace, monkeypatch):
    (whole, archive), (flyp, averaging, teaching, saving, loading) = (blocks(language) for language in ("yaml", "python"))
    assert configuration.validate(yaml.safe_load(archive), "page").model.trust_archive

    result = train_two_steps(yaml.safe_load(whole))
    start = torch.load("logs/mine/checkpoints/epoch_10.pt")["state_dict"]
    for name, value in clip.weights(result.anchor).items():
        assert torch.equal(value, start[f"module.{name}"])

    module = types.ModuleType("src.models.modeling")
    module.CLIPEncoder = types.SimpleNamespace(load=lambda path: types.SimpleNamespace(model=result.anchor.clip))
    for name in ("src", "src.models", "src.models.modeling"):
        monkeypatch.setitem(sys.modules, name, module)
    model = open_clip.create_model("ViT-B-16")
    names = {"model": model, "loader": batches(3), "step": stepper(model)}
    for block in (flyp, averaging, teaching, saving, loading):
        exec(block, names)

    assert names["teacher"].steps == 6
    anchor, student = (clip.weights(part) for part in (result.anchor, result.student.model))
    half = names["half"].state_dict()
    assert any(not torch.equal(anchor[name], student[name]) for name in half)
    for name, value in half.items():
        torch.testing.assert_close(value, (anchor[name] + student[name]) / 2, atol=FLOAT32, rtol=0)
        assert torch.equal(names["student"].state_dict()[name], student[name])
    assert load_metadata(Path("half.safetensors"))["preprocess"]["mean"] == list(open_clip.OPENAI_DATASET_MEAN)


@pytest.mark.parametrize(("kernel", "other"), [(Exponential(0.7), Uniform()), (Uniform(), Exponential(0.7))])
def test_kernels_are_torchs_rules(workplace, kernel, other):
    """Built after the first step, as torch's rule wants it; each kernel fails for the other's rule."""
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    model = open_clip.create_model("ViT-B-16")
    step = stepper(model)
    averaged = AveragedModel(model, multi_avg_fn=None if isinstance(kernel, Uniform) else get_ema_multi_avg_fn(0.7))
    teachers = []
    for images, tokens in batches(4):
        step(model, images, tokens)
        averaged.update_parameters(model)
        if not teachers:
            teachers = [Teacher(model, k, Clock(total_steps=4)) for k in (kernel, other)]
        else:
            for teacher in teachers:
                teacher.update()
    assert_close(teachers[0].module, averaged.module)
    assert_close(teachers[1].module, averaged.module, equal=False)


def test_an_average_goes_on_where_torchs_ended(workplace):
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    model = open_clip.create_model("ViT-B-16")
    step = stepper(model)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.7))
    for images, tokens in batches(2):
        step(model, images, tokens)
        averaged.update_parameters(model)
    moved, fresh = (Teacher(model, Exponential(0.7), Clock(total_steps=4)) for _ in range(2))
    moved.load_state_dict({"steps": averaged.n_averaged, **averaged.state_dict()})
    for images, tokens in batches(2):
        step(model, images, tokens)
        averaged.update_parameters(model)
        moved.update()
        fresh.update()
    assert moved.steps == 4
    assert_close(moved.module, averaged.module)
    assert_close(fresh.module, averaged.module, equal=False)


def test_buffers_are_what_the_page_says(workplace, monkeypatch):
    """Of AveragedModel: buffers are copied, and the mask becomes NaN with `use_buffers`; a Teacher averages, and stays finite."""
    from torch.optim.swa_utils import AveragedModel

    model = open_clip.create_model("ViT-B-16")
    averaged, teacher = AveragedModel(model, use_buffers=True), Teacher(model, Uniform(), Clock(total_steps=3))
    ((images, tokens),) = batches(1)
    for _ in range(3):
        averaged.update_parameters(model)
        teacher.update()
    with torch.no_grad():
        assert averaged.module(images, tokens)[1].isnan().any()
    assert teacher(images, tokens)[1].isfinite().all()
    norm = torch.nn.BatchNorm1d(2)
    copied, averaging, copying = AveragedModel(norm), *(Teacher(norm, Uniform(), Clock(2), b) for b in ("average", "copy"))
    for mean in (1.0, 3.0):
        norm.running_mean.fill_(mean)
        copied.update_parameters(norm)
        averaging.update()
        copying.update()
    means = [each.module.running_mean.tolist() for each in (copied, copying, averaging)]
    assert means == [[3.0, 3.0], [3.0, 3.0], pytest.approx([4 / 3, 4 / 3])]


def test_flags_of_the_table_are_open_clip_trains():
    parameters = Path(find_spec("open_clip_train").origin).with_name("params.py").read_text(encoding="utf-8")
    table = "".join(line for line in PAGE.splitlines() if line.startswith("| `--"))
    flags = set(re.findall(r"--[a-z0-9-]+", table))
    assert len(flags) > 10
    assert {flag for flag in flags if f'"{flag}"' not in parameters} == set()


def test_locked_towers_are_the_named_parameters(workplace):
    """What the table freezes for --lock-image and --lock-text leaves the other tower and the logit scale."""
    (row,) = [line for line in PAGE.splitlines() if "--lock-text" in line]
    image, text = (yaml.safe_load(patterns) for patterns in re.findall(r"\[.*?\]", row))
    for patterns, left in ((image, {"transformer", "token_embedding"}), (text, {"visual"})):
        model = clip.create("ViT-B-16", None).model
        clip.freeze(model, patterns)
        trained = {name for name, parameter in model.clip.named_parameters() if parameter.requires_grad}
        rest = {"positional_embedding", "ln_final", "text_projection"} if "visual" not in left else set()
        assert {name.split(".")[0] for name in trained} == left | rest | {"logit_scale"}
