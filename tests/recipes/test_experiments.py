"""Every experiment's YAML runs: its own settings for two steps, on replicas of its data with a tiny model, to a table."""

import json
from pathlib import Path

import open_clip
import pytest
import torch
import yaml

from tests import replicas
from tests.models import TINY_ARCHITECTURES
from tests.unit.data.test_imagenet import PLANTED
from tests.unit.data.test_iwildcam import CATEGORIES, ROWS
from tracer.data import imagenet, label_tables
from tracer.models import clip
from tracer.runs import fine_tune as running
from tracer.runs import sweep
from tracer.strategies import PRESETS, PUBLISHED_DISTILLATION

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
SWEEPS = sorted(path for path in EXPERIMENTS.glob("*/*.yaml") if "output" in yaml.safe_load(path.read_text()))
STEPS = 2
STAND_INS = {"ViT-B-16-quickgelu": "tiny-vit-quickgelu", "ViT-L-14-quickgelu": "tiny-vit-quickgelu", "RN50-quickgelu": "tiny-rn50"}
TEXT = {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1}  # 1000 classes' texts pass it in each run


def once(function):
    """The function, which is called once with the same arguments."""
    kept = {}

    def shared(*arguments):
        key = repr(arguments)
        if key not in kept:
            kept[key] = function(*arguments)
        return kept[key]

    return shared


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    """Replicas of the data in their places below data/, and weights of a tiny model for each architecture."""
    folder = tmp_path_factory.mktemp("stand-ins")
    replicas.imagenet_family(folder / "data", PLANTED)
    synsets = label_tables.imagenet_synsets()
    replicas.class_folders(folder / "data" / "imagenet" / "train", synsets[:8], {s: [(i, 0)] for i, s in enumerate(synsets[:8])})
    replicas.iwildcam(folder / "data" / "iwildcam_v2.0", [("train", 1, (1, 0)), ("train", 2, (2, 0))] * 4 + ROWS, CATEGORIES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_tables, "openai_templates", lambda: ("a {}.",))
        patch.setattr(imagenet, "suite", once(imagenet.suite))  # thousands of folders, the same for every run
        for name in sorted({*STAND_INS.values()}):
            patch.setitem(open_clip.factory._MODEL_CONFIGS, name, TINY_ARCHITECTURES[name] | {"text_cfg": TEXT})
            torch.manual_seed(0)
            clip.save(clip.create(name, None).model, folder / f"{name}.safetensors")
        yield folder


def shrunk(path, stand_ins, output):
    """The sweep's file with all its settings, but short, on the stand-ins; where a setting does not fit two steps, 1 or 2."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    base = values["base"]
    base["optimization"] |= {"total_steps": STEPS, "batch_size": 4, "warmup_steps": 0, "precision": "fp32"}
    base |= {"log_every_steps": 1, "workers": 0}
    if "model" in base:
        tiny = STAND_INS[base["model"]["architecture"]]
        base["model"] |= {"architecture": tiny, "pretrained": str(stand_ins / f"{tiny}.safetensors")}
        base["data"]["path"] = str(stand_ins / base["data"]["path"])
        place = "root" if "root" in base["evaluation"] else "path"
        base["evaluation"][place] = str(stand_ins / base["evaluation"][place])
    for key, least in (("strategy.update_every_steps", 1), ("strategy.probe_steps", STEPS)):
        for setting in (*values.get("runs", ()), *(figures["at"] for figures in values.get("published", ()) if "at" in figures)):
            if key in setting:
                setting[key] = least
    if "strategy.update_every_steps" in values["grid"]:
        values["grid"]["strategy.update_every_steps"] = [1, STEPS]
        values.pop("published", None)
    values["output"] = str(output)
    output.with_suffix(".yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return output.with_suffix(".yaml")


def kinds(points):
    """One point of each strategy, kernel and set of terms; those that differ in numbers alone run the same code.

    Of sets of distillation terms, those with none, one, or all: the others add no code.
    """
    found = {}
    for point in points:
        strategy = point.runs[0].strategy
        weights = strategy.objective_weights()
        terms = frozenset(name for name in PUBLISHED_DISTILLATION if weights.get(name))
        if 2 <= len(terms) < len(PRESETS[strategy.name].terms):
            continue
        found.setdefault((strategy.name, strategy.kernel and strategy.kernel.kind, strategy.update_every_steps, terms), point)
    return list(found.values())


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_runs_to_its_table(path, stand_ins, tmp_path):
    sweep.load(path)  # valid as it stands
    plan, points = sweep.load(shrunk(path, stand_ins, tmp_path / "sweep"))
    chosen, rows = kinds(points), []
    for point in chosen:
        run = point.runs[0]
        rows.append({"report": running.fine_tune(run).report})
        if PRESETS[run.strategy.name].trained:
            losses = [json.loads(line)["loss"] for line in (run.output / "metrics.jsonl").read_text().splitlines()]
            assert len(losses) == STEPS
            assert losses[0] != losses[1]
        assert (run.output / "student.safetensors").exists()
    once = [sweep.Point(point.setting, point.repetitions[:1], point.runs[:1]) for point in chosen]
    lines = sweep.table(sweep.summarise(plan, once, rows)).splitlines()
    for point, line in zip(chosen, lines[2:], strict=False):
        assert line.startswith(f"| {point.label} | 1 | ")
    assert set(plan.sets) <= {cell.strip() for cell in lines[0].split("|")}


def test_the_table_of_terms_has_all_sixteen_combinations():
    """All off is FLYP with the norm of the projections; each setting has its published figures."""
    (path,) = [path for path in SWEEPS if path.parent.name == "published" and path.stem == "terms"]
    plan, points = sweep.load(path)
    weights = [point.runs[0].strategy.objective_weights() for point in points]
    assert len({tuple(bool(each[name]) for name in PUBLISHED_DISTILLATION) for each in weights}) == len(points) == 16
    assert {"contrastive": 1.0, "cross_projection_norm": 0.05} in [{k: w for k, w in each.items() if w} for each in weights]
    assert [figures.at for figures in plan.published if all(point.setting != figures.at for point in points)] == []
    assert len(plan.published) == 16
    assert len(kinds(points)) == 6


def test_the_main_tables_have_every_strategy():
    tables = [path for path in SWEEPS if path.stem.startswith("main_table")]
    assert len(tables) == 3
    for path in tables:
        run = {point.runs[0].strategy.name for point in sweep.load(path)[1]}
        assert run == {name for name in PRESETS if not name.startswith("tracer_without")}
