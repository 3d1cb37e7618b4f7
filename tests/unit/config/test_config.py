from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tracer import cli
from tracer.averaging import Beta, Exponential, PowerLaw, Static, Uniform
from tracer.config import loading, schema
from tracer.config.schema import RunConfig
from tracer.config.strategy import Terms
from tracer.errors import UserError
from tracer.strategies import PRESETS
from tracer.training.objective import Objective

words = st.text("abcdefgh_.:{} 0é\n", max_size=6)
leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words)
keys = st.one_of(words, st.sampled_from(["kind", "name", "kernel", "path", "terms", "beta", "embedded", "csv", "tracer"]))
junk = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8)
EVERYTHING = {
    "output": "somewhere",
    "seed": 3,
    "model": {"architecture": "ViT-B-16", "pretrained": None, "batch_norm": "tracked"},
    "data": {"kind": "csv", "path": "pairs.csv", "image_column": "file", "caption_column": "text"},
    "evaluation": {"kind": "folder", "id": "a", "ood": {"sketch": "b"}, "knowledge": {}, "templates": ["{}"]},
    "strategy": {
        "name": "ema_distillation",
        "strength": 0.5,
        "terms": {"crd": 1, "fd": 200, "icl": 0, "cross_kd": 2},
        "cross_projection_norm": 0.05,
        "orthogonality": 0.1,
        "kernel": {"kind": "exponential", "momentum": 0.9, "initial_momentum": 0.05, "warmup_progress": 0.2},
        "update_every_steps": 5,
        "buffers": "copy",
    },
    "optimization": {"total_steps": 7, "betas": [0.8, 0.9], "max_gradient_norm": None, "precision": "bf16"},
    "workers": 2,
    "trackers": ["tensorboard"],
}


def errors_of(values):
    """The lines of the error that the values raise."""
    with pytest.raises(UserError) as refused:
        loading.validate(values, "here")
    return str(refused.value).splitlines()


def assert_run_or_sentences(values):
    """Nothing but a run or a user's error, whose lines all say where they come from."""
    try:
        outcome = loading.validate(values, "here")
    except UserError as error:
        outcome = str(error).split("\n")
    assert isinstance(outcome, RunConfig) or all(line.startswith("here: ") for line in outcome)


def written(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


class TestErrors:
    def test_all_are_told_at_once(self):
        lines = errors_of({"sede": 1, "optimization": {"batch_size": 1, "learning_rat": 3, "total_steps": "many"}})
        assert len(lines) == 4
        assert all(line.startswith("here: ") for line in lines)

    @pytest.mark.parametrize(
        ("values", "path", "suggestion"),
        [
            ({"sed": 1}, "sed", "seed"),
            ({"optimization": {"learning_rat": 1}}, "optimization.learning_rat", "learning_rate"),
            ({"strategy": {"terms": {"cros_kd": 1}}}, "strategy.terms.cros_kd", "cross_kd"),
            ({"strategy": {"name": "tracr"}}, "strategy.name", "tracer"),
            ({"strategy": {"kernel": {"kind": "betta"}}}, "strategy.kernel.kind", "beta"),
            ({"strategy": {"kernel": {"kind": "exponential", "momentun": 1}}}, "momentun", "momentum"),
            ({"data": {"kind": "csw", "path": "x"}}, "data.kind", "csv"),
            ({"data": {"kind": "csv", "path": "x", "caption_colum": "x"}}, "caption_colum", "caption_column"),
            ({"evaluation": {"kind": "folder", "id": "x", "odd": {}}}, "odd", "ood"),
            ({"optimization": {"precision": "fp33"}}, "optimization.precision", "fp32"),
        ],
    )
    def test_nearest_valid_name_is_suggested(self, values, path, suggestion):
        (line,) = errors_of(values)
        assert path in line
        assert f"did you mean '{suggestion}'?" in line

    @pytest.mark.parametrize(
        ("values", "path"),
        [
            ({"seed": "zero"}, "seed"),
            ({"seed": -1}, "seed"),
            ({"optimization": {"learning_rate": "fast"}}, "optimization.learning_rate"),
            ({"optimization": {"learning_rate": 0}}, "optimization.learning_rate"),
            ({"optimization": {"learning_rate": float("nan")}}, "optimization.learning_rate"),
            ({"optimization": {"betas": [0.9]}}, "optimization.betas"),
            ({"optimization": 5}, "optimization"),
            ({"strategy": {"strength": -1}}, "strategy.strength"),
            ({"strategy": {"strength": float("inf")}}, "strategy.strength"),
            ({"strategy": {"interpolation": 1.5}}, "strategy.interpolation"),
            ({"strategy": {"kernel": {"kind": "beta", "a": 0}}}, "strategy.kernel"),
            ({"strategy": {"kernel": {"kind": "exponential"}}}, "strategy.kernel"),
            ({"strategy": {"kernel": {"kind": "power_law"}}}, "strategy.kernel"),
            ({"strategy": {"kernel": {"a": 0.5}}}, "strategy.kernel"),
            ({"data": {"kind": "csv"}}, "path"),
            ({"data": {"kind": "folder", "path": "x", "templates": []}}, "templates"),
            ({"trackers": ["tensorbord"]}, "trackers"),
            ({"output": 5}, "output"),
        ],
    )
    def test_wrong_values_are_told_where_they_are(self, values, path):
        (line,) = errors_of(values)
        assert path in line
        assert len(line) > len(f"here: {path} ")

    def test_section_without_keys_lists_none(self):
        (line,) = errors_of({"data": {"path": "x"}})
        assert "(valid: )" not in line

    def test_keys_of_a_section_are_listed_where_none_is_near(self):
        (line,) = errors_of({"model": {"zzz": 1}})
        assert "architecture, batch_norm, compile, freeze" in line

    @given(st.sampled_from([*RunConfig.model_fields, "unknown"]), junk)
    def test_no_value_is_answered_with_a_traceback(self, key, value):
        assert_run_or_sentences({key: value})

    @given(st.sampled_from(["strategy", "optimization", "data", "evaluation", "model"]), st.data(), junk)
    def test_no_value_in_a_section_is_answered_with_a_traceback(self, section, data, value):
        fields = sorted(schema.StrategySection.model_fields | schema.Optimization.model_fields)
        assert_run_or_sentences({section: {data.draw(keys | st.sampled_from(fields)): value}})


class TestRoundTrip:
    @pytest.mark.parametrize("values", [{}, EVERYTHING, {"evaluation": None}], ids=["defaults", "everything", "no suite"])
    def test_dumped_runs_load_as_they_were(self, tmp_path, values):
        run = loading.validate(values, "here")
        assert loading.load(written(tmp_path, loading.dump(run))) == run

    @pytest.mark.parametrize(
        "kernel",
        [
            Static(),
            Uniform(),
            PowerLaw(0.3),
            Beta(0.2, 1.5, "pdf"),
            Exponential(time_constant_progress=0.1),
            Exponential(0.9, initial_momentum=0.1, warmup_progress=1.0),
        ],
        ids=repr,
    )
    def test_kernels_survive(self, tmp_path, kernel):
        run = RunConfig(strategy=schema.StrategySection(kernel=kernel))
        assert loading.load(written(tmp_path, loading.dump(run))).strategy.kernel == kernel

    def test_every_value_given_arrives(self):
        run = loading.validate(EVERYTHING, "here")
        assert run.strategy.kernel == Exponential(0.9, initial_momentum=0.05, warmup_progress=0.2)
        assert run.data.path == Path("pairs.csv")
        assert run.evaluation.ood == {"sketch": Path("b")}
        assert run.optimization.betas == (0.8, 0.9)
        assert run.optimization.batch_size == 128

    @given(st.floats(1e-12, 1e3), st.floats(1e-3, 1e3), st.integers(1, 10**9))
    def test_numbers_survive_exactly(self, rate, shape, steps):
        run = loading.validate(
            {
                "optimization": {"learning_rate": rate, "total_steps": steps},
                "strategy": {"kernel": {"kind": "beta", "a": shape}},
            },
            "here",
        )
        assert loading.validate(yaml.safe_load(loading.dump(run)), "here") == run


class TestOverrides:
    def test_reach_into_sections(self, tmp_path):
        path = written(tmp_path, "seed: 1\noptimization: {total_steps: 5}\n")
        run = loading.load(path, ["optimization.learning_rate=1e-5", "seed=2", "strategy.kernel.kind=uniform"])
        assert (run.seed, run.optimization.total_steps, run.optimization.learning_rate) == (2, 5, 1e-5)
        assert run.strategy.kernel == Uniform()

    def test_values_are_yaml(self):
        run = loading.load(None, ["evaluation=null", "optimization.betas=[0.8, 0.99]", "trackers=[tensorboard]"])
        assert run.evaluation is None
        assert run.optimization.betas == (0.8, 0.99)
        assert run.trackers == ("tensorboard",)

    def test_values_may_hold_equals_signs(self):
        assert loading.load(None, ["output=a=b"]).output == Path("a=b")

    @pytest.mark.parametrize("override", ["seed", "seed=[", "seed={", "optimization.sede=1", "=5", "seed: 1"])
    def test_mistakes_are_told(self, override):
        with pytest.raises(UserError):
            loading.load(None, [override])

    def test_of_equal_ones_the_last_holds(self):
        assert loading.load(None, ["seed=1", "strategy={name: flyp}", "seed=2"]).seed == 2

    def test_null_sections_may_be_filled(self, tmp_path):
        assert loading.load(written(tmp_path, "evaluation: null"), ["evaluation.split=validation"]).evaluation.split == "validation"


class TestHome:
    """A leading ~ is the home folder wherever a path may stand."""

    @pytest.fixture(autouse=True)
    def home(self, monkeypatch):
        monkeypatch.setenv("HOME", "/homes/me")

    @pytest.mark.parametrize(
        ("values", "found"),
        [
            ({"output": "~/runs/mine"}, lambda run: run.output),
            ({"output": "~"}, lambda run: run.output / "runs/mine"),
            ({"model": {"pretrained": "~/runs/mine"}}, lambda run: run.model.pretrained),
            ({"model": {"architecture": "local-dir:~/runs/mine"}}, lambda run: run.model.architecture.removeprefix("local-dir:")),
            ({"data": {"kind": "csv", "path": "~/runs/mine"}}, lambda run: run.data.path),
            ({"data": {"kind": "webdataset", "path": "~/runs/mine"}}, lambda run: run.data.path),
            ({"data": {"kind": "iwildcam", "path": "x", "categories": "~/runs/mine"}}, lambda run: run.data.categories),
            ({"evaluation": {"kind": "folder", "id": "~/runs/mine"}}, lambda run: run.evaluation.id),
            ({"evaluation": {"kind": "folder", "id": "x", "ood": {"s": "~/runs/mine"}}}, lambda run: run.evaluation.ood["s"]),
            ({"evaluation": {"kind": "imagenet", "root": "~/runs/mine"}}, lambda run: run.evaluation.root),
            (
                {"evaluation": {"kind": "imagenet", "root": "x", "folders": {"id": "~/runs/mine"}}},
                lambda run: run.evaluation.folders["id"],
            ),
            ({"evaluation": {"kind": "iwildcam", "path": "~/runs/mine"}}, lambda run: run.evaluation.path),
        ],
        ids=lambda value: None if callable(value) else str(value),
    )
    def test_in_every_section(self, values, found):
        run = loading.validate({"model": {"architecture": "glyphs"}} | values, "here")
        assert str(found(run)) == "/homes/me/runs/mine"

    def test_in_the_name_of_the_file(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        written(tmp_path, "seed: 7")
        assert loading.load(Path("~/run.yaml")).seed == 7

    def test_on_the_command_line(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        assert cli.main(["explore", "--output", "~/page.html"]) == 0
        assert (tmp_path / "page.html").is_file()
        suite = "evaluation={kind: embedded}"
        for option in ("--weights", "--head"):
            assert cli.main(["evaluate", suite, option, "~/none.safetensors"]) == 2
            assert f"{option} is {tmp_path}/none.safetensors, which does not exist" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["page.html"]

    def test_elsewhere_it_is_a_letter(self):
        assert loading.load(None, ["output=runs/~mine"]).output == Path("runs/~mine")


class TestDefaultsByModel:
    CLIP: ClassVar = {"architecture": "ViT-B-16", "pretrained": "openai"}

    def optimization(self, steps=25_000, strategy="tracer", **given):
        values = {"model": self.CLIP, "strategy": {"name": strategy}, "optimization": {"total_steps": steps} | given}
        return loading.validate(values, "here").optimization

    def test_the_embedded_model_keeps_its_own(self):
        optimization = RunConfig().optimization
        assert (optimization.learning_rate, optimization.warmup_steps, optimization.precision) == (1e-3, 0, "fp32")

    def test_a_clip_has_the_published_ones(self):
        optimization = self.optimization()
        assert (optimization.learning_rate, optimization.warmup_steps, optimization.precision) == (1e-5, 500, "bf16")
        assert optimization.schedule == "cosine"

    def test_the_warm_up_is_at_most_a_tenth_of_the_run(self):
        assert [self.optimization(steps).warmup_steps for steps in (3, 100, 4999, 5000, 10_000)] == [0, 10, 499, 500, 500]
        assert self.optimization(schedule="constant").warmup_steps == 0

    def test_heads_learn_faster(self):
        assert self.optimization(strategy="linear_probe").learning_rate == 1e-3
        run = loading.validate({"model": self.CLIP, "strategy": {"name": "lp_ft", "probe_steps": 50}}, "here")
        assert (run.optimization.learning_rate, run.strategy.probe_learning_rate) == (1e-5, 1e-3)
        assert run.optimization.warmup_steps == 5

    def test_what_is_written_holds(self):
        given = {"learning_rate": 0.5, "warmup_steps": 7, "precision": "fp32"}
        assert self.optimization(**given).model_dump(include=set(given)) == given

    def test_they_are_printed_and_taken_back(self, tmp_path):
        run = loading.validate({"model": self.CLIP}, "here")
        assert "learning_rate: 1.0e-05" in loading.dump(run)
        assert loading.load(written(tmp_path, loading.dump(run))) == run

    def test_data_of_ones_own_is_not_judged_on_the_embedded_suite(self):
        values = {"model": self.CLIP, "data": {"kind": "folder", "path": "x"}}
        run = loading.validate(values, "here")
        assert run.evaluation is None
        assert loading.remarks(run) == ["evaluation is left out: what is learnt from folder data is not judged"]
        for chosen in ({"kind": "embedded"}, None):
            run = loading.validate(values | {"evaluation": chosen}, "here")
            assert (run.evaluation is None) == (chosen is None)
            assert loading.remarks(run) == []

    def test_what_is_seldom_meant_is_said(self):
        assert loading.remarks(RunConfig()) == []
        assert loading.remarks(loading.validate({"model": self.CLIP, "data": {}}, "here")) == []
        (told,) = loading.remarks_on_the_suite(loading.validate({"model": self.CLIP, "data": {}}, "here"))
        assert "evaluation is left out: ViT-B-16 is judged on the embedded suite" in told
        for known in ({}, {"model": self.CLIP, "evaluation": None}, {"model": self.CLIP, "evaluation": {}}):
            assert loading.remarks_on_the_suite(loading.validate(known, "here")) == []
        random, digits = loading.remarks(loading.validate({"model": self.CLIP | {"pretrained": None}}, "here"))
        assert "random weights" in random
        assert "ViT-B-16 is trained on the embedded task" in digits


class TestUse:
    @pytest.mark.parametrize("name", PRESETS)
    def test_defaults_may_be_written_out(self, name):
        """The whole section, as older versions wrote it into config.yaml."""
        whole = RunConfig().strategy.model_dump(mode="json") | {"name": name}
        assert loading.validate({"strategy": whole}, "here").strategy.name == name

    @pytest.mark.parametrize("name", PRESETS)
    def test_what_is_used_is_printed_alone(self, tmp_path, name):
        run = loading.validate({"strategy": {"name": name}}, "here")
        printed = loading.read(written(tmp_path, loading.dump(run)))["strategy"]
        terms = {f"terms.{term}" for term in printed.pop("terms", {})}
        assert {*printed} | terms == PRESETS[name].settings
        assert loading.load(tmp_path / "run.yaml") == run

    def test_every_setting_is_used_by_some_strategy(self):
        every = {*schema.StrategySection.model_fields} - {"terms"} | {f"terms.{term}" for term in Terms.model_fields}
        assert set().union(*(strategy.settings for strategy in PRESETS.values())) == every

    def test_equal_effects_are_equal(self):
        def effect(**values):
            return loading.validate(values, "here").effect()

        assert effect(output="a") == effect(output="b") == effect(strategy={"kernel": {"kind": "beta", "a": 0.5, "b": 0.5}})
        different = [
            {},
            {"seed": 1},
            {"strategy": {"strength": 1}},
            {"strategy": {"kernel": {"kind": "beta", "a": 1}}},
            {"strategy": {"update_every_steps": 2}},
            {"strategy": {"name": "static_distillation"}},
            {"strategy": {"name": "zero_shot"}},
            {"strategy": {"name": "model_stock"}},
            {"strategy": {"name": "model_stock"}, "optimization": {"learning_rate": 1}},
            {"strategy": {"name": "wise_ft", "interpolation": 0.1}},
            {"strategy": {"name": "wise_ft"}},
            {"data": {}, "optimization": {"learning_rate": 1}},
        ]
        assert len({effect(**values) for values in different}) == len(different)


class TestFiles:
    @pytest.mark.parametrize("text", ["seed: [1", "- a\n- b", "5", "seed: 1\n\tbad"], ids=repr)
    def test_files_that_are_no_sections_are_told(self, tmp_path, text):
        with pytest.raises(UserError, match=r"run\.yaml"):
            loading.load(written(tmp_path, text))

    def test_absent_file_and_folder_are_told(self, tmp_path):
        for path in (tmp_path / "none.yaml", tmp_path):
            with pytest.raises(UserError, match="cannot read the configuration"):
                loading.load(path)

    def test_empty_file_is_the_defaults(self, tmp_path):
        assert loading.load(written(tmp_path, "")) == RunConfig()

    def test_other_encodings_are_told(self, tmp_path):
        path = tmp_path / "run.yaml"
        path.write_bytes(b"output: caf\xe9")
        with pytest.raises(UserError, match=r"run\.yaml"):
            loading.load(path)


class TestStrategies:
    @pytest.mark.parametrize("name", PRESETS)
    def test_weights_make_an_objective_that_fits_the_teacher(self, name):
        section = schema.StrategySection(name=name)
        if not PRESETS[name].trained:
            assert section.objective_weights() == {}
            return
        objective = Objective(section.objective_weights())
        assert objective.needs_teacher == (PRESETS[name].kernel is not None)
        assert objective.needs_anchor == (PRESETS[name].anchoring is not None)
        learnt = "classification" if PRESETS[name].has_head else "contrastive"
        assert {k: w for k, w in objective.weights.items() if k in ("classification", "contrastive")} == {learnt: 1}

    def test_published_weights_of_tracer(self):
        section = schema.StrategySection(name="tracer", strength=0.9, cross_projection_norm=0.05)
        weights = {name: weight for name, weight in section.objective_weights().items() if weight}
        published = {
            "contrastive": 1,
            "crd": 0.9,
            "fd": 1800,
            "icl": 0.9,
            "cross_kd": 0.9,
            "cross_projection_norm": 0.05,
        }
        assert weights == pytest.approx(published)

    def test_strength_is_the_weight_of_l2_sp(self):
        assert schema.StrategySection(name="l2_sp", strength=0.3).objective_weights()["l2_sp"] == 0.3
