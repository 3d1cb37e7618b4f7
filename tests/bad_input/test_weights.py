"""Mistakes in files of weights and in heads."""

import argparse
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from tests.bad_input.case import Case, assert_told, each
from tests.bad_input.files import DEEP, Code, archive, changed, claiming, cut, head, huge, said, tensors, torch_saved, wide, zipped
from tracer.cli import main
from tracer.runs import temperatures

EVALUATE = "evaluate base.yaml 'evaluation={kind: folder, id: photos, ood: {other: photos}}'"


def judged(name, answer, content, file="w.safetensors"):
    """A file given as --weights."""
    files = {} if content is None else {file: content}
    return Case(name, f"{EVALUATE} --weights {file}", answer, files)


MERGE = f"{EVALUATE.replace('evaluate', 'merge', 1)} --same-images"


def uncalibrated(path):
    """Writes the tiny model's weights, and a temperature of theirs below 0."""
    changed()(path)
    temperatures.place(path).write_text('{"temperature": -1}')


TRANSFORMERS = {"vision_model.embeddings.class_embedding": torch.zeros(3), "text_model.embeddings.x": torch.zeros(2)}
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 4\n"
PAGE = "\n<!DOCTYPE html><html><body>404</body></html>"

FILES = [
    judged("absent", "w.safetensors, which does not exist: check the path", None),
    judged("absent folder", "none/w.pt, which does not exist: check the path", None, "none/w.pt"),
    judged("folder", "photos, which is a folder: name a file in it", None, "photos"),
    judged("fifo", "w.pt, which is a device or a pipe: name a file", os.mkfifo, "w.pt"),
    judged("device", "/dev/zero, which is a device or a pipe: name a file", None, "/dev/zero"),
    judged("name too long", "is too long: shorten it", None, "a" * 300),
    judged("empty", r"w.safetensors is damaged or cut short \(it is empty\): replace it", b""),
    judged("empty pt", r"w.pt is damaged or cut short \(it is empty\): replace it", b"", "w.pt"),
    judged("pointer of git-LFS", "w.safetensors is a pointer of git-LFS.*: run git lfs pull", LFS),
    judged("pointer of git-LFS called pt", "w.pt is a pointer of git-LFS.*: run git lfs pull", LFS, "w.pt"),
    judged("web page", "w.pt is a web page.*: download the file itself", PAGE, "w.pt"),
    judged("header of an exabyte", "w.safetensors is damaged or cut short .*: replace it", claiming(10**18)),
    judged("header longer than the file", "w.safetensors is damaged or cut short .*: replace it", claiming(10**6)),
    judged("nonsense", "w.safetensors is damaged or cut short .*: replace it", b"nonsense" * 50),
    judged("cut short", "w.safetensors is damaged or cut short .*: replace it", cut(changed(), 0.5)),
    judged("nonsense in pt", "w.pt is damaged, or a pickle", b"nonsense" * 50, "w.pt"),
    judged("pt cut short", "cannot read w.pt .*: it is damaged or cut short; replace it", cut(torch_saved(tensors), 0.5), "w.pt"),
    judged("zip of something else", "cannot read w.pt .*: it is damaged or cut short; replace it", zipped, "w.pt"),
    judged("numpy", "w.npz is a file of numpy's.*: take the same model by one of open_clip's tags", b"PK", "w.npz"),
    Case(
        "pickle of code",
        f"{EVALUATE} --weights w.pt",
        r"w.pt is damaged, or a pickle of Python objects, which may run code.*: save the model's state_dict\(\)",
        {"w.pt": lambda path: path.write_bytes(pickle.dumps(Code()))},
        ruins=("run", "ran"),
    ),
    Case(
        "code beside weights",
        f"{EVALUATE} --weights w.pt",
        "w.pt is damaged, or a pickle",
        {"w.pt": torch_saved(lambda: {"state_dict": tensors(), "callback": Code()})},
        ruins=("run", "ran"),
    ),
    judged(
        "arguments beside weights", "w.pt .*a pickle", torch_saved(lambda: {"a": argparse.Namespace(), "model": tensors()}), "w.pt"
    ),
    judged("archive", "w.pt is a TorchScript archive.*: if you trust.*model.trust_archive to true", archive, "w.pt"),
    judged("list", r"w.pt does not fit the model \(it holds no tensors by name", torch_saved(lambda: [1, 2]), "w.pt"),
    judged("no tensors", r"w.pt does not fit the model \(it holds no tensors by name", torch_saved(lambda: {"model": {}}), "w.pt"),
    judged(
        "two models",
        r"w.pt holds the weights of 2 models \(under model and ema.module\): save those of one",
        torch_saved(lambda: {"model": tensors(), "ema": {f"module.{name}": tensor for name, tensor in tensors().items()}}),
        "w.pt",
    ),
    judged("transformers", "w.pt holds a model of the library transformers.*: take", torch_saved(lambda: TRANSFORMERS), "w.pt"),
    judged(
        "transformers with prefix",
        "w.pt holds a model of the library transformers",
        torch_saved(
            lambda: {f"model.{name}": tensor for name, tensor in TRANSFORMERS.items()} | {"model.logit_scale": torch.ones(())}
        ),
        "w.pt",
    ),
    judged(
        "image tower alone",
        r"does not fit .*\(tensors missing 30, first positional_embedding\)",
        lambda path: save_file({name: tensor for name, tensor in tensors().items() if name.startswith("visual.")}, path),
    ),
    judged("missing tensor", r"does not fit the model \(tensors missing 1, first text_projection\)", changed(text_projection=None)),
    judged(
        "tensor too many",
        r"does not fit .*unknown to it 1, first lora_a\)",
        lambda path: save_file(tensors() | {"lora_a": torch.ones(2)}, path),
    ),
    judged("sizes of another model", "does not fit .* of another shape or type [0-9]+, first", wide),
    judged("head as weights", "does not fit", head(torch.ones(3, 8))),
    judged(
        "quantised",
        r"of another shape or type 1, first visual.proj: int8 \(32, 8\) instead of float32",
        changed(visual__proj=lambda tensor: tensor.to(torch.int8)),
    ),
    judged(
        "complex",
        "of another shape or type 1, first visual.proj",
        torch_saved(lambda: tensors() | {"visual.proj": torch.zeros(32, 8, dtype=torch.complex64)}),
        "w.pt",
    ),
    judged(
        "sparse",
        "of another shape or type 1, first visual.proj",
        torch_saved(lambda: tensors() | {"visual.proj": torch.zeros(32, 8).to_sparse()}),
        "w.pt",
    ),
    judged(
        "NaN", "the weights in w.safetensors hold NaN in visual.proj: take", changed(visual__proj=lambda tensor: tensor * torch.nan)
    ),
    judged("infinite", "hold infinite values in ln_final.bias: take", changed(ln_final__bias=lambda tensor: tensor + torch.inf)),
    judged("too large for float32", "hold infinite values in visual.proj", changed(visual__proj=huge(1e300))),
    judged("too large to compute with", "answers to 12 of 12 images of the set id are not finite", changed(logit_scale=huge(200))),
    judged("metadata that are no JSON", "the metadata of w.safetensors are damaged: replace it", said("{")),
    judged("deep metadata", "the metadata of w.safetensors are damaged: replace it", said(DEEP)),
    judged("metadata that are a list", "the metadata of w.safetensors are damaged: replace it", said([1])),
    judged("activation that is a word", "the metadata of w.safetensors are damaged: .*quick_gelu", said({"quick_gelu": "yes"})),
    judged("configuration without towers", "the metadata .*: configuration.vision_cfg is missing", said({"configuration": {}})),
    judged(
        "heads of another width",
        "does not fit .*its tensors do, but it was trained with another setting: vision_cfg.head_width 8 and 16.: choose v",
        said({"architecture": "v", "configuration": {"vision_cfg": {"head_width": 8}, "text_cfg": {"heads": 2}}}),
    ),
    judged("other activation", "another activation than local-dir:tiny has", said({"quick_gelu": True})),
    judged("deviation 0", "the preprocessing in w.safetensors is wrong: std", said({"preprocess": {"std": [0, 1, 1]}})),
    judged("mean of NaN", "the preprocessing in w.safetensors is wrong: mean", said('{"preprocess": {"mean": [NaN, 1, 1]}}')),
    judged(
        "mean of two channels",
        "the preprocessing in w.safetensors is wrong: mean has too few values",
        said({"preprocess": {"mean": [0, 1]}}),
    ),
    judged("unknown interpolation", "is wrong: interpolation cannot be 'cubic'", said({"preprocess": {"interpolation": "cubic"}})),
    judged("preprocessing that is a word", "the preprocessing in w.safetensors is wrong", said({"preprocess": "openai"})),
    judged(
        "images of another size",
        r"want images otherwise than local-dir:tiny makes them \(size \(48, 48\) and \(32, 32\)\)",
        said({"preprocess": {"size": [48, 48]}}),
    ),
]

HEADS_AND_STARTS = [
    Case(
        "head of NaN",
        f"{EVALUATE} --head h.safetensors",
        "h.safetensors hold NaN in weight",
        {"h.safetensors": head(torch.full((3, 8), torch.nan))},
    ),
    Case(
        "head without classes", f"{EVALUATE} --head h.safetensors", "holds no head", {"h.safetensors": head(torch.ones(3, 8), None)}
    ),
    Case(
        "head with a number of classes",
        f"{EVALUATE} --head h.safetensors",
        "holds no head",
        {"h.safetensors": head(torch.ones(3, 8), 3)},
    ),
    Case(
        "head of another width",
        f"{EVALUATE} --head h.safetensors",
        "holds no head .* width 8",
        {"h.safetensors": head(torch.ones(3, 9))},
    ),
    Case("folder as head", f"{EVALUATE} --head photos", "photos, which is a folder"),
    Case(
        "interpolation to NaN",
        f"{EVALUATE} --weights w.safetensors --interpolations 0,1",
        "hold NaN in visual.proj",
        {"w.safetensors": changed(visual__proj=lambda tensor: tensor * torch.nan)},
    ),
    Case(
        "interpolation of different preprocessing",
        f"{EVALUATE} --weights w.safetensors --interpolations 0,1",
        r"want images otherwise \(mean .* and \(0.5, 0.5, 0.5\)\)",
        {"w.safetensors": said({"preprocess": {"mean": [0.5, 0.5, 0.5]}})},
    ),
    Case(
        "merging another architecture",
        f"{MERGE} --weights w.safetensors",
        "w.safetensors does not fit the model .tensors of another shape",
        {"w.safetensors": changed(visual__proj=lambda tensor: tensor[:, :4])},
    ),
    Case(
        "merging different preprocessing",
        f"{MERGE} --weights w.safetensors",
        "the pretrained and w.safetensors want images otherwise",
        {"w.safetensors": said({"preprocess": {"mean": [0.5, 0.5, 0.5]}})},
    ),
    Case(
        "merging the pretrained weights",
        f"{MERGE} --weights x.safetensors w.safetensors",
        "the weights in w.safetensors are the pretrained ones, to which they add nothing: name others",
        {"x.safetensors": changed(visual__proj=lambda tensor: 2 * tensor), "w.safetensors": changed()},
    ),
    Case(
        "merging the same weights twice",
        f"{MERGE} --weights x.safetensors w.safetensors",
        "the weights in w.safetensors are those in x.safetensors, to which",
        {name: changed(visual__proj=lambda tensor: 2 * tensor) for name in ("x.safetensors", "w.safetensors")},
    ),
    Case(
        "a temperature of nothing",
        f"{EVALUATE} --weights w.safetensors",
        "temperature-w-[0-9a-f]*.json holds no temperature: delete it, or run tracer calibrate again",
        {"w.safetensors": uncalibrated},
    ),
    Case(
        "training from NaN",
        "train base.yaml model.pretrained=w.safetensors",
        "hold NaN in visual.proj",
        {"w.safetensors": changed(visual__proj=lambda tensor: tensor * torch.nan)},
    ),
    Case(
        "output in a model's folder",
        "train base.yaml output=mine",
        "output = mine holds the weights open_clip_model.safetensors of another model.*: choose another",
        {"mine/open_clip_model.safetensors": changed()},
        ruins=("mine/config.yaml", "mine/student.safetensors"),
    ),
    Case("folder as start", "train base.yaml model.pretrained=photos", "photos is a folder: .*local-dir:photos"),
    Case("folder with a dot as start", "train base.yaml model.pretrained=v1.2", "v1.2 is a folder", {"v1.2/w.pt": b""}),
    Case(
        "other weights than the embedded model's",
        f"{EVALUATE} model.architecture=glyphs model.pretrained=null --weights w.safetensors",
        "w.safetensors does not fit",
        {"w.safetensors": changed()},
    ),
]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
@pytest.mark.filterwarnings("ignore:Sparse")
@each([*FILES, *HEADS_AND_STARTS])
def test_is_told(case, folder, capsys):
    assert_told(case, folder, capsys)


def test_sound_files_are_judged(folder):
    """Without this, every case would pass on a command that always fails."""
    changed()(folder / "w.safetensors")
    head(torch.ones(3, 8))(folder / "h.safetensors")
    arguments = ["evaluate", "base.yaml", "evaluation={kind: folder, id: photos}", "--weights", "w.safetensors"]
    assert main([*arguments, "--head", "h.safetensors"]) == 0
    assert main(["train", "base.yaml", "model.pretrained=w.safetensors"]) == 0
