from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tracer import config
from tracer.averaging import Beta, Exponential, PowerLaw, Static, Uniform
from tracer.config import Run
from tracer.errors import UserError
from tracer.objective import Objective
from tracer.strategies import STRATEGIES

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
        config.validate(values, "here")
    return str(refused.value).splitlines()


def assert_run_or_sentences(values):
    """Nothing but a run or a user's error, whose lines all say where they come from."""
    try:
        outcome = config.validate(values, "here")
    except UserError as error:
        outcome = str(error).split("\n")
    assert isinstance(outcome, Run) or all(line.startswith("here: ") for line in outcome)


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

    @given(st.sampled_from([*Run.model_fields, "unknown"]), junk)
    def test_no_value_is_answered_with_a_traceback(self, key, value):
        assert_run_or_sentences({key: value})

    @given(st.sampled_from(["strategy", "optimization", "data", "evaluation", "model"]), st.data(), junk)
    def test_no_value_in_a_section_is_answered_with_a_traceback(self, section, data, value):
        fields = sorted(config.StrategySection.model_fields | config.Optimization.model_fields)
        assert_run_or_sentences({section: {data.draw(keys | st.sampled_from(fields)): value}})


class TestRoundTrip:
    @pytest.mark.parametrize("values", [{}, EVERYTHING, {"evaluation": None}], ids=["defaults", "everything", "no suite"])
    def test_dumped_runs_load_as_they_were(self, tmp_path, values):
        run = config.validate(values, "here")
        assert config.load(written(tmp_path, config.dump(run))) == run

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
        run = Run(strategy=config.StrategySection(kernel=kernel))
        assert config.load(written(tmp_path, config.dump(run))).strategy.kernel == kernel

    def test_every_value_given_arrives(self):
        run = config.validate(EVERYTHING, "here")
        assert run.strategy.kernel == Exponential(0.9, initial_momentum=0.05, warmup_progress=0.2)
        assert run.data.path == Path("pairs.csv")
        assert run.evaluation.ood == {"sketch": Path("b")}
        assert run.optimization.betas == (0.8, 0.9)
        assert run.optimization.batch_size == 128

    @given(st.floats(1e-12, 1e3), st.floats(1e-3, 1e3), st.integers(1, 10**9))
    def test_numbers_survive_exactly(self, rate, shape, steps):
        run = config.validate(
            {
                "optimization": {"learning_rate": rate, "total_steps": steps},
                "strategy": {"kernel": {"kind": "beta", "a": shape}},
            },
            "here",
        )
        assert config.validate(yaml.safe_load(config.dump(run)), "here") == run


class TestOverrides:
    def test_reach_into_sections(self, tmp_path):
        path = written(tmp_path, "seed: 1\noptimization: {total_steps: 5}\n")
        run = config.load(path, ["optimization.learning_rate=1e-5", "seed=2", "strategy.kernel.kind=uniform"])
        assert (run.seed, run.optimization.total_steps, run.optimization.learning_rate) == (2, 5, 1e-5)
        assert run.strategy.kernel == Uniform()

    def test_values_are_yaml(self):
        run = config.load(None, ["evaluation=null", "optimization.betas=[0.8, 0.99]", "trackers=[tensorboard]"])
        assert run.evaluation is None
        assert run.optimization.betas == (0.8, 0.99)
        assert run.trackers == ("tensorboard",)

    def test_values_may_hold_equals_signs(self):
        assert config.load(None, ["output=a=b"]).output == Path("a=b")

    @pytest.mark.parametrize("override", ["seed", "seed=[", "seed={", "optimization.sede=1", "=5", "seed: 1"])
    def test_mistakes_are_told(self, override):
        with pytest.raises(UserError):
            config.load(None, [override])


class TestFiles:
    @pytest.mark.parametrize("text", ["seed: [1", "- a\n- b", "5", "seed: 1\n\tbad"], ids=repr)
    def test_files_that_are_no_sections_are_told(self, tmp_path, text):
        with pytest.raises(UserError, match=r"run\.yaml"):
            config.load(written(tmp_path, text))

    def test_absent_file_and_folder_are_told(self, tmp_path):
        for path in (tmp_path / "none.yaml", tmp_path):
            with pytest.raises(UserError, match="cannot read the configuration"):
                config.load(path)

    def test_empty_file_is_the_defaults(self, tmp_path):
        assert config.load(written(tmp_path, "")) == Run()

    def test_other_encodings_are_told(self, tmp_path):
        path = tmp_path / "run.yaml"
        path.write_bytes(b"output: caf\xe9")
        with pytest.raises(UserError, match=r"run\.yaml"):
            config.load(path)


class TestStrategies:
    @pytest.mark.parametrize("name", STRATEGIES)
    def test_weights_make_an_objective_that_fits_the_teacher(self, name):
        section = config.StrategySection(name=name)
        objective = Objective(section.objective_weights())
        assert objective.needs_teacher == (STRATEGIES[name].kernel is not None)
        assert objective.needs_anchor == STRATEGIES[name].anchored
        learnt = "classification" if STRATEGIES[name].has_head else "contrastive"
        assert {k: w for k, w in objective.weights.items() if k in ("classification", "contrastive")} == {learnt: 1}

    def test_published_weights_of_tracer(self):
        section = config.StrategySection(name="tracer", strength=0.9, cross_projection_norm=0.05)
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
        assert config.StrategySection(name="l2_sp", strength=0.3).objective_weights()["l2_sp"] == 0.3
