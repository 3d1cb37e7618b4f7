"""Mistakes in folders that a model is loaded from."""

import copy
import json
import pickle

import pytest
import torch

from tests.bad_input.case import Case, assert_told, each
from tests.bad_input.files import DEEP, WEIGHTS, Code, archive, changed, head, said
from tests.models import TINY_ARCHITECTURES


def described(values):
    """Files of a model folder `odd` with this open_clip_config.json and the tiny model's weights."""
    text = values if isinstance(values, str) else json.dumps(values)
    return {"odd/open_clip_config.json": text, f"odd/{WEIGHTS}": changed()}


def sized(section, key, value):
    configuration = copy.deepcopy(TINY_ARCHITECTURES["tiny-vit"])
    (configuration[section] if section else configuration)[key] = value
    return described({"model_cfg": configuration})


def odd(name, answer, files, ruins=("run",)):
    """A model folder."""
    return Case(name, "train base.yaml model.architecture=local-dir:odd", answer, files, ruins)


TINY = TINY_ARCHITECTURES["tiny-vit"]
CONFIGURATION = json.dumps({"model_cfg": TINY})
MEMORY = "odd/open_clip_config.json describes a model of about .* parameters, and this machine's memory holds"
TRUST = "local-dir:odd would run code of its own: .*set model.trust_remote_code to true"
TOKENIZED = sized("text_cfg", "hf_tokenizer_name", "anything")

FOLDERS = [
    odd("absent model folder", "there is no folder odd: check the path", {}),
    odd("folder without configuration", "odd holds no open_clip_config.json", {f"odd/{WEIGHTS}": changed()}),
    odd("configuration that is no JSON", "open_clip_config.json is not JSON: mend or replace it", described("{")),
    odd("deep configuration", "open_clip_config.json is not JSON", described(DEEP)),
    odd("empty configuration", "open_clip_config.json is damaged or cut short", described("")),
    odd(
        "endless configuration",
        "open_clip_config.json is a device or a pipe",
        {"odd/open_clip_config.json": lambda path: path.symlink_to("/dev/zero")},
    ),
    odd("configuration that is a list", "open_clip_config.json has no model_cfg", described([1])),
    odd("configuration without a model", "open_clip_config.json has no model_cfg", described({"vision_cfg": {}})),
    odd("model that is a list", "open_clip_config.json has no model_cfg", described({"model_cfg": [1]})),
    odd(
        "model without a text tower", "model_cfg.text_cfg is missing", described({"model_cfg": {"embed_dim": 8, "vision_cfg": {}}})
    ),
    odd("misspelt size", r"'model_cfg.vision_cfg.layer' \(did you mean 'layers'\?\)", sized("vision_cfg", "layer", 2)),
    odd("unknown part", "cannot build local-dir:odd .*: mend the files in odd", sized("", "audio_cfg", {})),
    odd("layers in words", "model_cfg.vision_cfg.layers is 'two'", sized("vision_cfg", "layers", "two")),
    odd("layers that are true", "model_cfg.vision_cfg.layers is true", sized("vision_cfg", "layers", True)),
    odd("half a layer", "model_cfg.text_cfg.layers is 1.5", sized("text_cfg", "layers", 1.5)),
    odd("size of ten thousand letters", "model_cfg.embed_dim is .'x+[.]{3}", sized("", "embed_dim", "x" * 10_000)),
    odd(
        "text tower of ten thousand letters",
        "cannot build local-dir:odd|needs the package",
        sized("text_cfg", "hf_model_name", "x" * 10_000),
    ),
    odd(
        "archive of TorchScript",
        "pytorch_model.bin is a TorchScript archive",
        {"odd/open_clip_config.json": CONFIGURATION, "odd/pytorch_model.bin": archive},
    ),
    odd("no layers", "model_cfg.text_cfg.layers is 0", sized("text_cfg", "layers", 0)),
    odd("negative width", "model_cfg.text_cfg.width is -1", sized("text_cfg", "width", -1)),
    odd("no patches", "model_cfg.vision_cfg.patch_size is 0", sized("vision_cfg", "patch_size", 0)),
    odd("a thousand million layers", "model_cfg.text_cfg.layers is 1000000000: .*200", sized("text_cfg", "layers", 10**9)),
    odd("a thousand million words", MEMORY, sized("text_cfg", "vocab_size", 10**12)),
    odd("width of ten million", MEMORY, sized("vision_cfg", "width", 10**7)),
    odd("embedding of a million million", MEMORY, sized("", "embed_dim", 10**12)),
    odd("images of a hundred million pixels", MEMORY, sized("vision_cfg", "image_size", 10**8)),
    odd(
        "ResNet of a thousand layers a stage",
        "model_cfg.vision_cfg.layers is 1000: .*200",
        sized("vision_cfg", "layers", [1000] * 4),
    ),
    odd(
        "heads wider than the tower", "cannot build local-dir:odd .*: mend the files in odd", sized("vision_cfg", "head_width", 64)
    ),
    odd(
        "heads that do not divide the tower", "cannot build local-dir:odd .*: mend the files in odd", sized("text_cfg", "heads", 3)
    ),
    odd(
        "unknown timm tower",
        "cannot build local-dir:odd .*: mend the files in odd",
        sized("vision_cfg", "timm_model_name", "no such"),
    ),
    odd(
        "preprocessing with deviation 0",
        "the preprocessing in odd/open_clip_config.json is wrong: std",
        described({"model_cfg": TINY, "preprocess_cfg": {"std": 0}}),
    ),
    odd("folder without weights", "odd holds no weights beside its configuration", {"odd/open_clip_config.json": CONFIGURATION}),
    odd(
        "folder with a head alone",
        "w.safetensors|does not fit",
        {"odd/open_clip_config.json": CONFIGURATION, "odd/head.safetensors": head(torch.ones(3, 8))},
    ),
    odd(
        "folder with two foreign files",
        "odd holds 2 files of weights .a.safetensors, b.safetensors.: call the model's own",
        {"odd/open_clip_config.json": CONFIGURATION, "odd/a.safetensors": changed(), "odd/b.safetensors": changed()},
    ),
    odd(
        "folder with weights of NaN",
        "odd/open_clip_model.safetensors hold NaN",
        {"odd/open_clip_config.json": CONFIGURATION, f"odd/{WEIGHTS}": changed(visual__proj=lambda tensor: tensor * torch.nan)},
    ),
    odd(
        "folder with a pickle",
        "odd/pytorch_model.bin is damaged, or a pickle",
        {"odd/open_clip_config.json": CONFIGURATION, "odd/pytorch_model.bin": lambda path: path.write_bytes(pickle.dumps(Code()))},
        ("run", "ran"),
    ),
    odd(
        "folder that disagrees with its weights",
        "want images otherwise than odd/open_clip_config.json says .mean",
        {
            "odd/open_clip_config.json": json.dumps({"model_cfg": TINY, "preprocess_cfg": {"mean": [0.1, 0.1, 0.1]}}),
            f"odd/{WEIGHTS}": said({"preprocess": {"mean": [0.5, 0.5, 0.5]}}),
        },
    ),
    odd("tokenizer with code", TRUST, sized("text_cfg", "tokenizer_kwargs", {"trust_remote_code": True})),
    odd(
        "tokenizer with classes of its own",
        TRUST,
        TOKENIZED | {"odd/tokenizer_config.json": '{"auto_map": {"AutoTokenizer": ["mine.T", null]}}'},
    ),
    odd(
        "tokenizer's model with classes of its own",
        TRUST,
        TOKENIZED | {"odd/config.json": '{"auto_map": {"AutoConfig": "mine.C"}}'},
    ),
    odd(
        "text tower with classes of its own",
        TRUST,
        sized("text_cfg", "hf_model_name", "tower") | {"tower/config.json": '{"auto_map": {"AutoModel": "mine.M"}}'},
    ),
    odd("tokenizer that is no JSON", "odd/tokenizer_config.json is not JSON", TOKENIZED | {"odd/tokenizer_config.json": "{"}),
    odd("tokenizer with odd arguments", "model_cfg.text_cfg.tokenizer_kwargs is 3", sized("text_cfg", "tokenizer_kwargs", 3)),
    odd(
        "tokenizer with unknown arguments",
        "cannot build local-dir:odd .*: mend the files in odd",
        sized("text_cfg", "tokenizer_kwargs", {"pad": 3}),
    ),
]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
@each(FOLDERS)
def test_is_told(case, folder, capsys):
    assert_told(case, folder, capsys)
