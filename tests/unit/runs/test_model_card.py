"""The model card: read as Markdown it says what is meant, whatever names hold; its front matter is the hub's."""

import re

import open_clip
import pytest
import torch
import yaml
from huggingface_hub import ModelCard as HubCard
from markdown_it import MarkdownIt

from tests.unit.runs.test_fine_tune import configured, folders, weights  # noqa: F401 (fixtures)
from tests.unit.runs.test_suite_commands import tiny  # noqa: F401 (a fixture)
from tracer import __version__
from tracer.cli import main
from tracer.config import loading
from tracer.models import clip
from tracer.runs import fine_tune as running
from tracer.runs import judging
from tracer.runs.model_card import MARK, ModelCard

STRANGE = [
    "a|b",
    "*x*",
    "_y_",
    "[l](http://z)",
    "<script>alert(1)</script>",
    "`tick`",
    "``",
    "~~no~~",
    "&amp;",
    "$$x$$",
    "# h",
    "\\",
    "ü",
]
SCORES = {"accuracy": 0.5, "ece": 0.125, "count": 1234}


def report(sets=("id", "posed")):
    of_kind = {"id": SCORES, "ood": SCORES, "knowledge": {}}
    return {"sets": dict.fromkeys(sets, SCORES), **of_kind}


def run(**values):
    return loading.validate({"model": {"architecture": "ViT-B-16", "pretrained": "openai"}, **values}, "here")


def read(text):
    """Plain text of each heading, paragraph and cell, code spans included, as a reader of the Markdown sees it."""
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL))
    inline = [token.children for token in tokens if token.type == "inline"]
    assert not {child.type for children in inline for child in children} & {"html_inline", "em_open", "s_open", "image"}
    links = [child for children in inline for child in children if child.type == "link_open"]
    assert not links
    return ["".join(" " if child.type == "softbreak" else child.content for child in children) for children in inline]


def front_matter(text):
    return yaml.safe_load(text.split("---\n")[1])


class TestNames:
    @pytest.mark.parametrize("name", [*STRANGE, "two\nlines"])
    def test_are_shown_as_they_are(self, tmp_path, name):
        line = name.replace("\n", " ")
        folder = {"kind": "folder", "path": str(tmp_path), "templates": ["{}"]}
        suite = {"kind": "folder", "id": str(tmp_path)}
        model = {"architecture": "ViT-B-16", "pretrained": f"./{line}.pt", "freeze": [line]}
        card = ModelCard(
            run(model=model, data=folder, evaluation=suite, output=str(tmp_path / name.replace("/", ""))), 10, (name, "b"), True
        )
        shown = read(card.text(report(sets=("id", name))))
        assert line.replace("/", "") in shown
        assert f"{line}" in shown[shown.index("model.freeze") + 1]
        assert shown.index("1,234") < shown.index(line, shown.index("id")) < shown.index("mean OOD")
        assert any(f"2 classes ({line}, b)" in text for text in shown)
        assert f"Licence: fill in; the weights come from ./{line}.pt of ViT-B-16." in shown

    @pytest.mark.parametrize("name", STRANGE)
    def test_survive_in_the_front_matter(self, name):
        name = f"hf-hub:a/{name}: - #"
        text = ModelCard(run(model={"architecture": "hf-hub:a/b", "pretrained": name}), None, (), False).text(None)
        assert front_matter(text)["base_model"] == name.removeprefix("hf-hub:")


class TestContent:
    def test_hub_reads_the_front_matter(self):
        text = ModelCard(run(strategy={"name": "l2_sp"}), 5, (), False).text(None)
        data = HubCard(text).data
        assert (data.library_name, data.pipeline_tag, data.tags) == (
            "open_clip",
            "zero-shot-image-classification",
            ["clip", "tracer", "l2_sp"],
        )

    def test_says_what_was_done(self):
        section = {"name": "lp_ft", "probe_steps": 7}
        text = ModelCard(run(strategy=section, optimization={"total_steps": 2000}), 5000, ("a",) * 25, True).text(None)
        shown = read(text)
        first = f"ViT-B-16, from the weights openai, fine-tuned by lp_ft in 2,007 steps; written by tracer {__version__}."
        assert first in shown
        assert shown[shown.index("strategy.probe_steps") + 1] == "7"
        assert shown[shown.index("optimization.learning_rate") + 1] == "1e-05"
        assert not any(text.startswith(("strategy.strength", "strategy.kernel")) for text in shown), "lp_ft uses neither"
        assert any(f"5,000 pairs, 25 classes ({', '.join('a' * 20)} and 5 more)" in text for text in shown)
        assert "It was not judged." in shown
        assert "head.safetensors" in text

    def test_says_what_was_not_done(self):
        shown = read(ModelCard(run(strategy={"name": "zero_shot"}, model={"pretrained": None}), None, (), False).text(None))
        assert any("from random weights, as it is (zero_shot)" in text for text in shown)
        assert "It learnt from no data." in shown
        assert "Licence: fill in; the weights come from this training alone." in shown

    def test_kernel_is_named_where_none_was_written(self):
        shown = read(ModelCard(run(), 1, (), False).text(None))
        assert shown[shown.index("strategy.kernel") + 1].startswith("Beta(a=0.5, b=0.5")

    def test_compares_with_the_pretrained_model(self):
        before = {"accuracy": 0.25, "ece": 0.5, "count": 1234}
        pretrained = {"sets": {"id": before, "posed": before}, "id": before, "ood": before, "knowledge": {}}
        compared = report() | {
            "pretrained": pretrained,
            "change": {"id": {"accuracy": 0.25, "ece": -0.4}, "ood": {}, "knowledge": {}},
        }
        shown = read(ModelCard(run(), 1, (), False).text(compared))
        for name, images in (("posed", "1,234"), ("mean OOD", "")):
            place = shown.index(name)
            assert shown[place + 1 : place + 6] == [images, "50.0", "12.5", "25.0", "50.0"]
        assert any("gained 25.0 on the task" in text for text in shown)


class TestFile:
    def test_is_written_by_a_run_and_again_with_what_it_is_compared_with(self, configured, folders):  # noqa: F811
        folder = {"kind": "folder", "templates": ["the digit {}"]}
        data, suite = folder | {"path": str(folders)}, folder | {"id": str(folders)}
        own = configured("lp_ft", data=data, evaluation=suite)
        result = running.fine_tune(own)
        path = own.output / "README.md"
        alone = read(path.read_text(encoding="utf-8"))
        assert {"10"} < {*alone}
        assert "accuracy before" not in alone
        judging.verdict(own, result)
        assert "accuracy before" in read(path.read_text(encoding="utf-8"))
        assert any("linear_probe" in text for text in read((own.output / "first" / "README.md").read_text(encoding="utf-8")))

    def test_leaves_what_others_wrote(self, tmp_path):
        card = ModelCard(run(output=str(tmp_path)), None, (), False)
        path = tmp_path / "README.md"
        path.write_bytes(b"# mine \xff")
        card.write(None)
        assert path.read_bytes() == b"# mine \xff"
        path.unlink()
        card.write(None)
        card.write(report())
        assert "mean OOD" in path.read_text(encoding="utf-8")
        path.write_text(path.read_text(encoding="utf-8").replace(MARK, "Licence: MIT"), encoding="utf-8")
        card.write(None)
        assert "Licence: MIT" in path.read_text(encoding="utf-8")


def test_model_loads_as_the_card_says(tmp_path, tiny, folders):  # noqa: F811
    """Every snippet is run as it stands but for the path, in a folder that holds the card."""
    data = f"data={{kind: folder, path: {folders}}}"
    out = tmp_path / "out"
    assert main(["train", f"output={out}", tiny, data, "optimization.total_steps=1", "optimization.batch_size=4"]) == 0
    snippets = re.findall(r"```python\n(.*?)```", (out / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(snippets) == 2
    saved = clip.weights(clip.create(f"local-dir:{out}", f"local-dir:{out}").model)
    for snippet in snippets:
        names = {"open_clip": open_clip}
        exec(snippet.replace("path/to/this/folder", str(out)), names)
        loaded = names["model"].state_dict()
        assert all(torch.equal(loaded[name], tensor) for name, tensor in saved.items())
        assert names["tokenizer"](["a cat"]).shape == (1, 16)
