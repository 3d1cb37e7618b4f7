"""Mistakes in what is typed: options, places, and the files of sweeps. Each is told before anything is computed."""

import time

import pytest

from tests.bad_input import case as cases
from tests.bad_input.case import Case, assert_told, each

SUITE = "evaluation={kind: folder, id: photos, ood: {same: photos}}"
TAKEN = {"taken": "a file"}


def link_to_nothing(path):
    path.symlink_to("nowhere")


def grid(text, output="out"):
    """A sweep's file."""
    return {"grid.yaml": f"output: {output}\n{text}"}


DEMO = [
    Case("demo of no seeds", "demo --seeds 0", "--seeds is 0.*1 to 3", ruins=("demo",)),
    Case("demo of fewer than no seeds", "demo --seeds -2", "--seeds is -2.*1 to 3", ruins=("demo",)),
    Case("demo of more seeds than models", "demo --seeds 99", "--seeds is 99.*--pretrain", ruins=("demo",)),
    Case("demo pretraining no models", "demo --seeds 0 --pretrain", "--seeds is 0", ruins=("demo",)),
    Case("demo of no steps", "demo --steps 0", "--steps is 0: choose at least 1", ruins=("demo",)),
    Case("demo of fewer than no steps", "demo --steps -5", "--steps is -5: choose at least 1", ruins=("demo",)),
    Case("demo into a file", "demo --output taken", "--output is taken, but it is a file: choose another folder", TAKEN),
    Case("demo below a file", "demo --output taken/a/b", "--output is taken/a/b, but its part taken is a file", TAKEN),
    Case("demo into a broken link", "demo --output link", "--output is link, but it is a file", {"link": link_to_nothing}),
    Case("demo into nothing", "demo --output ''", "--output is '': a path cannot be empty"),
    Case("demo into a stranger's home", "demo --output=~no-such-user/x", "there is no home folder ~no-such-user"),
    Case("demo into a long name", f"demo --output {'x' * 300}", "too long"),
]
PRETRAIN = [
    Case("pretraining from a negative seed", "pretrain --seed -1", "the seed is -1: choose 0 or more", ruins=("runs",)),
    Case("pretraining from a huge seed", f"pretrain --seed {2**70}", "less than 2\\^63", ruins=("runs",)),
    Case("pretraining what there is not", "pretrain --architecture glyphs-vitt", "did you mean 'glyphs-vit'", ruins=("runs",)),
    Case("pretraining into another format", "pretrain --output x.pt", "x.pt must end in .safetensors.*rename it", ruins=("x",)),
    Case("pretraining into a folder", "pretrain --output photos", "--output is photos, which is no file but a folder"),
    Case("pretraining below a file", "pretrain --output taken/x.safetensors", "taken, but it is a file", TAKEN),
    Case("pretraining whose checkpoints have no place", "pretrain --output taken.safetensors", "folder of checkpoints", TAKEN),
    Case("pretraining into nothing", "pretrain --output ' '", "a path cannot be empty"),
]
TRAIN = [
    Case("training into a file", "train base.yaml output=taken", "output is taken, but it is a file", TAKEN),
    Case("training below a file", "train base.yaml output=taken/run", "its part taken is a file", TAKEN),
    Case("training into a broken link", "train base.yaml output=link", "output is link, but", {"link": link_to_nothing}),
    Case("training into a long name", f"train base.yaml output={'y' * 300}", "too long"),
    Case(
        "names with markup are told as they are",
        "train base.yaml 'output=[red]x[/red]'",
        r"\[red\]x\[/red\]",
        {"[red]x[/red]": "x"},
    ),
]
AVERAGE = [
    Case("average of nothing in particular", "average photos", "takes either --kernel or --choose"),
    Case("average twice", "average photos --kernel uniform --choose", "takes either --kernel or --choose"),
    Case("average of no run", "average photos --kernel uniform", "photos holds no run: name a folder that tracer train wrote"),
    Case("average with keys", "average photos --kernel uniform seed=1", "--kernel takes no keys such as 'seed=1'"),
    Case("average on the same images", "average photos --kernel uniform --same-images", "leave --same-images out"),
    Case("average of no kernel", "average photos --kernel ''", "kernel"),
    Case("average of an unknown kernel", "average photos --kernel median", "kind cannot be 'median'"),
    Case("average of half a kernel", "average photos --kernel exponential", "either momentum or time_constant_progress"),
    Case("average of a null kernel", "average photos --kernel null", "--kernel is empty: name a kind"),
    *[
        Case(
            f"{name} into the folder of a run",
            f"{typed} --output ran",
            "ran holds a run, whose weights would be replaced: choose another folder by --output",
            {"ran/config.yaml": "output: ran\n"},
        )
        for name, typed in (
            ("average", "average photos --kernel uniform"),
            ("solving", f"solve base.yaml '{SUITE}' --same-images"),
        )
    ],
    Case("average into a file", "average photos --kernel uniform --output taken", "--output is taken, but it is a file", TAKEN),
]
EVALUATE = [
    Case("nothing to judge on", "evaluate base.yaml", "evaluation is null.*name a suite"),
    Case("judging into a file", f"evaluate base.yaml '{SUITE}' output=taken", "output is taken, but it is a file", TAKEN),
    Case("absent weights", f"evaluate base.yaml '{SUITE}' --weights absent.pt", "--weights is absent.pt, which does not exist"),
    Case("a folder for weights", f"evaluate base.yaml '{SUITE}' --weights photos", "--weights is photos, which is a folder"),
    Case("weights without a name", f"evaluate base.yaml '{SUITE}' --weights ''", "--weights is '': a path cannot be empty"),
    Case("an absent head", f"evaluate base.yaml '{SUITE}' --head absent.safetensors", "--head is absent.safetensors"),
    Case("a folder for a head", f"evaluate base.yaml '{SUITE}' --head photos", "--head is photos, which is a folder"),
    *[
        Case(
            name,
            f"evaluate base.yaml '{SUITE}' --weights taken --interpolations={shares}",
            "numbers from 0 to 1 with commas",
            TAKEN,
        )
        for name, shares in {
            "shares of a comma": ",",
            "shares of nothing": "''",
            "shares of words": "half,whole",
            "a share above 1": "0,1.5",
            "a share below 0": "-0.5,1",
            "a share that is no number": "0,nan",
            "an infinite share": "inf",
            "shares between semicolons": "'0;1'",
        }.items()
    ],
    Case("shares without weights", f"evaluate base.yaml '{SUITE}' --interpolations 0,1", "name those by --weights"),
    Case(
        "shares with a head",
        f"evaluate base.yaml '{SUITE}' --interpolations 0,1 --weights taken --head taken",
        "leave --head out",
        TAKEN,
    ),
    Case(
        "shares of nothing pretrained",
        f"evaluate base.yaml '{SUITE}' model.pretrained=null --interpolations 0,1 --weights taken",
        "model.pretrained is null",
        TAKEN,
    ),
    Case(
        "shares without shifted sets",
        "evaluate base.yaml 'evaluation={kind: folder, id: photos}' --interpolations 0,1 --weights taken",
        "no OOD sets",
        TAKEN,
    ),
]
MERGE = [
    Case("merging nothing", "merge base.yaml --weights seed=1", "--weights names no weights"),
    Case(
        "merging absent weights", f"merge base.yaml '{SUITE}' --weights absent.pt", "--weights is absent.pt, which does not exist"
    ),
    Case(
        "merging a folder without a run",
        f"merge base.yaml '{SUITE}' --weights photos",
        "photos/student.safetensors, which does not",
    ),
    Case(
        "an unknown method",
        f"merge base.yaml '{SUITE}' --weights taken --methods wise-ft",
        "'wise-ft' .did you mean 'wise_ft'",
        TAKEN,
    ),
    Case("a method without a name", f"merge base.yaml '{SUITE}' --weights taken --methods ''", "no method ''", TAKEN),
    *[
        Case(
            f"one model for {method}",
            f"merge base.yaml '{SUITE}' --weights taken --methods lines,{method}",
            f"{method} merges at least 2 .* --weights names 1: name more, or choose --methods wise_ft,task_vector,lines",
            TAKEN,
        )
        for method in ("uniform_soup", "greedy_soup", "model_stock")
    ],
    Case("merging into a file", f"merge base.yaml '{SUITE}' --weights taken --output taken", "--output is taken, but it is", TAKEN),
    Case("merging without a suite", "merge base.yaml --weights taken", "evaluation is null.*name a suite", TAKEN),
    Case(
        "merging without weights to start from",
        f"merge base.yaml '{SUITE}' model.pretrained=null --weights taken",
        "model.pretrained is null, so there are no pretrained weights that the others came from",
        TAKEN,
    ),
    Case(
        "nothing to choose on", f"merge base.yaml '{SUITE}' --weights taken", "validation is null, .* or give --same-images", TAKEN
    ),
    Case(
        "choosing on what is reported",
        f"merge base.yaml --weights taken '{SUITE}' 'validation={{kind: folder, id: photos}}'",
        "12 of 12 images of the set id of validation are also in .* of evaluation",
        TAKEN,
    ),
    Case(
        "merging into the folder of a run",
        f"merge base.yaml '{SUITE}' --same-images --weights taken --methods wise_ft --output runs",
        "runs/wise_ft holds a run, whose weights would be replaced",
        {**TAKEN, "runs/wise_ft/config.yaml": "output: runs/wise_ft\n"},
    ),
    Case(
        "merging beside what other methods made",
        f"merge base.yaml '{SUITE}' --same-images --weights taken --methods wise_ft --output merged",
        "merged/lines is of an earlier merge by other methods: delete it, or choose another --output",
        {**TAKEN, "merged/lines/student.safetensors": "made"},
    ),
    Case(
        "merging without shifted sets",
        "merge base.yaml --weights taken --same-images 'evaluation={kind: folder, id: photos}'",
        "compares ID with OOD accuracy, and validation has no OOD sets",
        TAKEN,
    ),
]
CALIBRATE = [
    Case(
        "calibrating absent weights", f"calibrate base.yaml '{SUITE}' --weights absent.pt", "--weights is absent.pt, which does not"
    ),
    Case("calibrating on nothing", f"calibrate base.yaml '{SUITE}' --weights taken", "validation is null", TAKEN),
    Case(
        "calibrating with a folder for a head",
        f"calibrate base.yaml '{SUITE}' --weights taken --head photos",
        "--head is photos",
        TAKEN,
    ),
]
SWEEPS = [
    Case("an absent sweep", "sweep absent.yaml", "absent.yaml: No such file"),
    Case("a sweep without a name", "sweep ''", "the sweep's file is ''"),
    Case("a folder for a sweep", "sweep photos", "photos"),
    Case("no processes", "sweep grid.yaml --processes 0", "--processes is 0: choose at least 1", grid("grid: {seed: [0]}")),
    Case("fewer than no processes", "sweep grid.yaml --processes -3", "--processes is -3", grid("grid: {seed: [0]}")),
    Case("no processes in the file", "sweep grid.yaml", "processes", grid("processes: 0\ngrid: {seed: [0]}")),
    Case("a sweep of nothing", "sweep grid.yaml", "neither grid nor runs", grid("")),
    Case("a sweep into a file", "sweep grid.yaml", "output is taken, but", {**TAKEN, **grid("grid: {seed: [0]}", "taken")}),
    Case("a sweep without a suite", "sweep grid.yaml", "evaluation is null", grid("base: {evaluation: null}\ngrid: {seed: [0]}")),
    Case(
        "an unknown measure",
        "sweep grid.yaml",
        "'OODD'.*'OOD'",
        grid("grid: {seed: [0]}\npublished: [{at: {}, percent: {OODD: 1}}]"),
    ),
    Case("runs in one folder", "sweep grid.yaml", "two runs would", grid("grid: {seed: [0, 0]}")),
    Case("values that are no list", "sweep grid.yaml", "grid.seed", grid("grid: {seed: 3}")),
    Case(
        "a screenful of wrong runs",
        "sweep grid.yaml",
        "and [0-9]+ more",
        grid(f"grid: {{seed: [{', '.join(str(-n) for n in range(1, 40))}]}}"),
    ),
]
EXPLORE = [
    Case("exploring into a folder", "explore --output photos", "--output is photos, which is no file but a folder"),
    Case("exploring below a file", "explore --output taken/x.html", "taken, but it is a file", TAKEN),
    Case("exploring into nothing", "explore --output ''", "a path cannot be empty"),
]


@each([*DEMO, *PRETRAIN, *TRAIN, *EVALUATE, *AVERAGE, *MERGE, *CALIBRATE, *SWEEPS, *EXPLORE])
def test_is_told(case, folder, capsys):
    assert_told(case, folder, capsys)
    assert not (folder / "out").exists()


def test_no_answer_in_time_fails(folder, capsys, monkeypatch):
    """The command answers whatever exception ends it, but not this one."""
    monkeypatch.setattr(cases, "SECONDS_TO_ANSWER", 1)
    monkeypatch.setattr("tracer.commands.strategies", lambda options: time.sleep(3))
    with pytest.raises(cases.Late):
        assert_told(Case("", "strategies", ""), folder, capsys)
