"""Mistakes in the settings of a configuration, from a file or the command line."""

import pytest
from PIL import Image

from tests.bad_input.case import Case, assert_told, each
from tracer.cli import main

LONG = "x" * 300
OWN = "model.architecture=glyphs"


def given(name, overrides, answer):
    """A case of overrides to the sound configuration."""
    return Case(name, f"train base.yaml {overrides}", answer)


CASES = [
    # keys
    given("misspelt key", "optimization.learning_rat=1", "optimization.learning_rat.*'learning_rate'"),
    given("misspelt section", "optimisation.total_steps=5", "there is no key 'optimisation'.*'optimization'"),
    given("key of another kind", "data.caption_column=title", "no key 'data.caption_column'"),
    given("key without an end", f"model.{LONG}=1", r"no key 'model.x{40,} \.\.\. x+' \(valid: architecture"),
    Case("dotted key in a file", "train run.yaml", "in a file, seed is a key in the section model", {"run.yaml": "model.seed: 1"}),
    given("override without a key", "=3", "the override '=3' has no key before the ="),
    given("override without a value", "output=", "output has no value: write null if none is meant"),
    given("override of nothing between dots", "a..b=1", "the key 'a..b' has nothing at one side of a dot"),
    given("override that ends with a dot", "model.=1", "the key 'model.' has nothing at one side of a dot"),
    given("override without a sign", "output=x seed", "the override 'seed' has no =: write section.key=value"),
    given("override with a comment", "'output=runs #1'", "holds a comment or more than one value: put all of it in quotes"),
    given("override that is no YAML", "'seed=['", r"the override 'seed=\[' is not YAML"),
    given("override that repeats a key", "'strategy={name: flyp, name: tracer}'", "strategy.name is given twice"),
    given("override of a section by a number", "model=3", "model is 3: write its keys"),
    given("override below a number", "model=3 model.compile=true", "model is no section, so it has no key 'compile'"),
    given("override that undoes another", "strategy.strength=1 'strategy={name: flyp}'", "would undo strategy.strength"),
    given(
        "override of a part of a list",
        "'optimization.betas=[0.9, 0.99]' optimization.betas.0=0.8",
        "betas is a list.*give .* whole",
    ),
    given("override that makes a section of a list", "optimization.betas.0=0.8", r"betas is \{'0': 0.8\}: write a list"),
    given("date on the command line", "output=2024-01-01", "output = 2024-01-01 is read as a date by YAML"),
    # numbers
    given("word for a number", "optimization.learning_rate=fast", "optimization.learning_rate is 'fast': write a number"),
    given("yes for a number", "optimization.learning_rate=yes", "learning_rate is true: YAML reads yes, on and true so"),
    given("false for a number", "seed=false", "seed is false: YAML reads no, off and false so, which is no number"),
    given("true in a kernel", "'strategy.kernel={kind: beta, a: true}'", "strategy.kernel is .*YAML reads yes"),
    given("null for a number", "optimization.learning_rate=null", "learning_rate is null, as YAML reads null, ~ and nothing"),
    given("list for a number", "'seed=[1, 2]'", r"seed is \[1, 2\]: write a whole number"),
    given("half a step", "optimization.total_steps=2.5", "total_steps is 2.5: write a whole number"),
    given("infinite steps", "optimization.total_steps=.inf", "total_steps is inf: write a finite number"),
    given("steps that are no number", "optimization.total_steps=.nan", "total_steps is nan: write a finite number"),
    given("steps beyond reason", "optimization.total_steps=1e15", "total_steps is 1000000000000000.0: it must be at most"),
    given("seed of 400 digits", f"seed={'9' * 400}", r"seed is 9{40,} \.\.\. 9+: it must be at most"),
    given("strength of 400 digits", f"strategy.strength={'9' * 400}", "strategy.strength is 9+ ... 9+: write a number"),
    given("rate that overflows", "optimization.learning_rate=1e400", "learning_rate is inf: write a finite number"),
    given("minutes for a number", "optimization.total_steps=1:30", "total_steps is '1:30': write a whole number"),
    given("no steps", "optimization.total_steps=0", "total_steps is 0: it must be at least 1"),
    given("negative seed", "seed=-1", "seed is -1: it must be at least 0"),
    given("batch of one", "optimization.batch_size=1", "batch_size is 1: it must be at least 2"),
    given("rate of zero", "optimization.learning_rate=0", "learning_rate is 0: it must be above 0"),
    given("beta of one", "'optimization.betas=[0.9, 1]'", "betas.1 is 1: it must be below 1"),
    given("one beta", "'optimization.betas=[0.9]'", "optimization.betas.1 is missing"),
    given(
        "interpolation beyond 1", "strategy.name=wise_ft strategy.interpolation=1.5", "interpolation is 1.5: it must be at most 1"
    ),
    given("a thousand workers", "workers=1000", "workers is 1000: it must be at most 256"),
    given("a million models", "strategy.name=model_stock strategy.models=1000000", "models is 1000000: it must be at most 100"),
    given("kernel without end", "'strategy.kernel={kind: power_law, beta: .inf}'", "beta must be a finite number"),
    given("kernel of zero", "'strategy.kernel={kind: beta, a: 0}'", "a must be positive"),
    given("kernel without numbers", "'strategy.kernel={kind: exponential}'", "either momentum or time_constant_progress"),
    # text, lists and choices
    given("kernel in a word", "strategy.kernel=beta", "strategy.kernel is 'beta': write its keys"),
    given("word for a list", "trackers=wandb", r"trackers is 'wandb': write a list, such as \[a, b\]"),
    given("no template", "'data.templates=[]'", r"data.templates is \[\]: it must hold at least 1"),
    given("off for a choice", "model.batch_norm=off", "batch_norm cannot be false: choose one of frozen, tracked"),
    given("no for a kind", "data.kind=no", "data.kind cannot be false: choose one of embedded"),
    given("half precision", "optimization.precision=fp16", "precision cannot be 'fp16'.*choose one of bf16, fp32, fp64"),
    given("two names", "'strategy.name=flyp tracer'", "strategy.name cannot be 'flyp tracer'"),
    given("choice without end", f"strategy.name={LONG}", r"cannot be 'x{40,} \.\.\. x+': choose one of zero_shot"),
    given("word for true", "model.compile=perhaps", "model.compile is 'perhaps': write true or false"),
    given("markup", "'seed=\"[red]1[/red]\"'", r"seed is '\[red\]1\[/red\]': write a whole number"),
    given("empty name", "'model.architecture=\"\"'", "model.architecture is '': write text"),
    given("true for weights", "model.pretrained=true", "model.pretrained is true, as YAML reads yes, on and true"),
    # paths
    given("empty path", "'data.path=\"\"'", "data.path is '': a path cannot be empty: write one, or . for"),
    given("empty output", "'output=\"\"'", "output is '': a path cannot be empty"),
    given("path with a NUL", r"""'output="a\0b"'""", "a path cannot hold a NUL character"),
    given("path too long", f"output={LONG}", "output is 'x.*a name of over 255 bytes"),
    given("home of nobody", "output=~nobody-at-all/run", "there is no home folder ~nobody-at-all"),
    given("weights in the home of nobody", "model.pretrained=~nobody-at-all/x.pt", "no home folder ~nobody-at-all"),
    given(
        "set in the home of nobody",
        "'evaluation={kind: folder, id: photos, ood: {s: ~nobody-at-all}}'",
        "evaluation.ood.s is .*no home",
    ),
    # settings that do nothing
    given(
        "strength of flyp",
        "strategy.name=flyp strategy.strength=0.3",
        "strength is 0.3, but flyp does not use it: remove it, or choose",
    ),
    given("interpolation of tracer", "strategy.interpolation=0.3", r"tracer does not use it: remove it, or .* \(wise_ft\)"),
    given(
        "term that carot lacks", "strategy.name=carot strategy.terms.fd=3", "strategy.terms.fd is 3.0, but carot does not use it"
    ),
    given("term without a teacher", "strategy.name=l2_sp strategy.terms.crd=3", "strategy.terms.crd is 3.0, but l2_sp does not"),
    given("term taken out", "strategy.name=tracer_without_icl strategy.terms.icl=3", "tracer_without_icl does not use it"),
    given(
        "kernel without a teacher",
        "strategy.name=flyp 'strategy.kernel={kind: static}'",
        "strategy.kernel is .*flyp does not use it",
    ),
    given(
        "period without a teacher",
        "strategy.name=ft strategy.update_every_steps=2",
        "update_every_steps is 2, but ft does not use it",
    ),
    given("buffers without a teacher", "strategy.name=wise_ft strategy.buffers=copy", "buffers is 'copy', but wise_ft does not"),
    given("probe of tracer", "strategy.probe_steps=2", r"probe_steps is 2, but tracer does not use it.*\(lp_ft\)"),
    given("models of flyp", "strategy.name=flyp strategy.models=3", r"models is 3, but flyp does not use it.*\(model_stock\)"),
    given("constraint on a head", "strategy.name=linear_probe strategy.orthogonality=1", "linear_probe does not use it"),
    given("constraint on nothing", "strategy.name=zero_shot strategy.cross_projection_norm=1", "zero_shot does not use it"),
    # settings that do not go together, and toy defaults
    given("average of nothing", "strategy.name=zero_shot average.snapshots=1", "zero_shot takes no steps of its own to follow"),
    given("average of merged runs", "strategy.name=model_stock average.snapshots=1", "model_stock takes no steps of its own"),
    given("average without a kernel", "average.update_every_steps=2", "no average of tracer is followed: name average.kernel"),
    given("result without a kernel", "average.snapshots=1 average.as_result=true", "needs the average: name average.kernel"),
    given("average beyond the run", "average.snapshots=1 average.update_every_steps=9", "update_every_steps = 9 exceeds 2 steps"),
    given("snapshots beyond the run", "average.snapshots=3", "snapshots = 3 exceeds the 2 updates of the averages: lower it"),
    given("kernel of an average", "'average.kernel={kind: beta, a: 0}'", "a must be positive"),
    given("period beyond the run", "strategy.update_every_steps=9", "strategy.update_every_steps = 9 exceeds 2 steps"),
    given("warm-up beyond the run", "optimization.warmup_steps=2", "optimization.warmup_steps = 2 leaves none of 2 steps"),
    given(
        "warm-up without a schedule", "optimization.schedule=constant optimization.warmup_steps=1", "needs optimization.schedule"
    ),
    given(
        "micro-batches and statistics",
        "optimization.micro_batch_size=2 model.batch_norm=tracked",
        "needs model.batch_norm = frozen",
    ),
    Case(
        "photos without a model",
        "train 'data={kind: folder, path: photos}'",
        "embedded toy would be used, and data is not for it .*model: {architecture: ViT-B-16",
    ),
    Case(
        "photos of digits without a model",
        "train 'data={kind: folder, path: digits, templates: [\"the digit {}\"]}'",
        "embedded toy would be used, and data is not for it .*takes 32 x 32 RGB images, not .40, 40, 3",
        {"digits/one/a.png": lambda path: Image.new("RGB", (40, 40)).save(path)},
    ),
    Case(
        "suite without a model",
        "evaluate 'evaluation={kind: folder, id: photos}'",
        "embedded toy would be used, and evaluation is not for it",
    ),
    Case("model without weights", "train model.architecture=ViT-B-16", "model.pretrained is missing for 'ViT-B-16': name a tag"),
    Case("embedded model without weights", "train model.architecture=glyphs-vit", "the file that tracer pretrain --arch.* wrote"),
    Case("embedded model misspelt", "train model.architecture=glyphs-vitt", "did you mean 'glyphs-vit'"),
    Case("misspelt toy", "train model.architecture=glyps", r"for 'glyps' \(did you mean 'glyphs'\?\)"),
    Case("suite without a path", f"evaluate {OWN} evaluation.kind=folder", "evaluation.id is missing"),
    Case("data without a path", f"train {OWN} data.kind=csv", "data.path is missing: give it a value"),
]


@each(CASES)
def test_is_told(case, folder, capsys):
    assert_told(case, folder, capsys)


def test_many_mistakes_fit_on_a_screen(folder, capsys):
    overrides = [f"model.key{number}=1" for number in range(100)]
    assert main(["train", "base.yaml", *overrides]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) < 20
    assert lines[-1] == f"tracer: and {101 - len(lines)} more: mend these first"


def test_sound_input_trains(folder):
    """Without this, every case would pass on a command that always fails."""
    assert main(["train", "base.yaml"]) == 0
    assert (folder / "run" / "student.safetensors").is_file()


def test_an_answer_that_says_something_else_fails(folder, capsys):
    with pytest.raises(AssertionError):
        assert_told(Case("", "train absent.yaml", "the disk is full"), folder, capsys)
