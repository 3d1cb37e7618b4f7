"""The world of drawings, from small packages in npm's form."""

import base64
import dataclasses
import hashlib
import io
import json
import os
import re
import tarfile
from itertools import product
from pathlib import Path

import pytest

from tests.experiments import imported
from tracer.data.shards import webdataset
from tracer.demo.settings import REPLAY
from tracer.errors import UserError
from tracer.runs.fine_tune import fine_tune

CATEGORIES = {0: "smileys", 3: "animals", 4: "food", 5: "travel", 7: "objects"}
EACH = 8  # concepts of a category
MODULES = ("packages", "drawings", "world", "settings", "make", "compare", "tuning", "cells", "tables")
MODULES = (*MODULES, "predict", "solve", "foresight", "frontiers", "orderings", "worlds", "coverage", "calibration")
INTERVAL = re.compile(r"\d+\.\d+ ± \d+\.\d+")
SHORT = {"total_steps": 2, "batch_size": 8, "warmup_steps": 0}
NPM = """#!/bin/sh
# npm pack --silent --pack-destination FOLDER NAME@VERSION
cp {registry}/$(echo "$5" | sed 's/^@//; s|/|-|; s/@/-/').tgz "$4"
"""


@pytest.fixture
def emoji(tmp_path, monkeypatch):
    """The experiment's modules, which fetch packages of a few drawings from an npm of the test's own."""
    registry, programs = tmp_path / "registry", tmp_path / "bin"
    registry.mkdir()
    programs.mkdir()
    (programs / "npm").write_text(NPM.format(registry=registry))
    (programs / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    with imported("emoji", *MODULES) as modules:
        drawings = modules["drawings"]
        monkeypatch.setattr(modules["world"], "VARIANTS", 3)
        monkeypatch.setattr(modules["world"], "TRAINING_POSES", 5)
        monkeypatch.setattr(drawings, "NAMES", published(registry, drawings.NAMES, names()))
        for number, (name, style) in enumerate(drawings.STYLES.items()):
            package = published(registry, style.package, icons(number, says_codes=name in ("noto", "twemoji")))
            monkeypatch.setitem(drawings.STYLES, name, dataclasses.replace(style, package=package))
        yield modules


def names():
    """Names of emoji as emojibase has them, a flag and a woman among them."""
    data = [
        {"hexcode": f"1F{group}{number:02d}", "label": label(group, number), "group": group, "subgroup": group, "tags": ["tag"]}
        for group, number in product(CATEGORIES, range(EACH))
    ]
    data += [{"hexcode": "1F999", "label": "flag: Nowhere", "group": 9, "subgroup": 9}]
    data += [{"hexcode": "1F998", "label": "woman", "group": 3, "subgroup": 3, "gender": 0}]
    groups = [{"order": group, "message": f"kind {group}"} for group in (*CATEGORIES, 9)]
    return {"en/data.json": data, "en/messages.json": {"subgroups": groups}}


def label(group, number):
    return f"thing {chr(97 + number)} of {CATEGORIES[group]}"


def icons(style, says_codes):
    """A set of Iconify's, whose drawings are called like the emoji, by hyphens; every style has its own colours."""
    drawn, codes = {}, {}
    for group, number in product(CATEGORIES, range(EACH)):
        name = label(group, number).replace(" ", "-")
        drawn[name] = {
            "body": f'<rect x="{number}" y="{group}" width="8" height="8" fill="#{20 + 25 * style:02x}{30 * number:02x}40"/>'
        }
        codes[f"1f{group}{number:02d}"] = name
    turned = {"thing-a-of-food-turned": {"parent": "thing-a-of-food", "hFlip": True}}
    return {
        "icons.json": {"icons": drawn, "aliases": turned, "width": 16, "height": 16},
        "chars.json": codes if says_codes else {},
    }


def published(registry, package, files):
    """The package with what it now holds, its archive in the registry."""
    path = package.file(registry)
    with tarfile.open(path, "w:gz") as archive:
        for name, values in files.items():
            content = json.dumps(values).encode()
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return dataclasses.replace(package, sha512=base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode())


def pictures(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in folder.rglob("*.png")}


def test_the_world_is_split_as_it_says_and_trains(emoji, tmp_path):
    make, world, settings = emoji["make"], emoji["world"], emoji["settings"]
    place = tmp_path / "emoji"
    make.make(place)
    drawings = emoji["drawings"]
    known = drawings.concepts(tmp_path / "emoji-packages")
    made = world.World(known, drawings.drawings(tmp_path / "emoji-packages", known))
    styles = len(drawings.STYLES)
    assert len(known) == len(CATEGORIES) * EACH
    assert {style: len(own) for style, own in made.svg.items()} == dict.fromkeys(drawings.STYLES, len(known))

    shown = webdataset(f"{place}/pretraining/{{00000..{world.SHARDS - 1:05d}}}.tar", "json.captions")
    assert 0 < len(made.held_out) < 0.4 * len(world.JUDGED) * EACH * styles
    assert {known[code].category for _, code in made.held_out} <= set(world.JUDGED)
    assert len(shown.images) == world.VARIANTS * (len(known) * styles - len(made.held_out))
    assert len(shown.captions[0]) == world.CAPTIONS

    for name, task in world.TASKS.items():
        folder = place / "tasks" / name
        parts = [pictures(folder / part) for part in ("train", "validation/id", "test/id")]
        assert [len(part) for part in parts] == [5 * EACH, 4 * EACH, 4 * EACH]
        assert not any(one & other for one, other in ((parts[0], parts[1]), (parts[0], parts[2]), (parts[1], parts[2])))
        concepts = [{path.parent.name for path in (folder / split / "ood").rglob("*.png")} for split in world.SPLITS]
        assert concepts[0].isdisjoint(concepts[1])
        assert concepts[0] | concepts[1] == {path.name for path in (folder / "train").iterdir()}
        for split in world.SPLITS:
            unseen = {
                (path.name.rsplit("-", 1)[0], path.parent.name) for path in (folder / split / "ood" / "unseen").rglob("*.png")
            }
            assert unseen <= {(style, known[code].name) for style, code in made.held_out}
            assert task.style not in [path.name for path in (folder / split / "ood").iterdir()]

    for architecture in settings.ARCHITECTURES:
        weights = pretrained(settings, architecture, place, tmp_path)
        told = {"optimization": SHORT, "replay": REPLAY}
        tuned = settings.fine_tuning(
            "tracer", "food-high-contrast", architecture, weights, 0, place, tmp_path / f"{architecture}-t", **told
        )
        report = fine_tune(tuned).report
        assert set(report["sets"]) >= {"animals", "travel", "objects", "unseen", "noto"}


def pretrained(settings, architecture, world, folder):
    """The file of a model after two steps of pretraining, where the comparisons look for it."""
    weights = settings.weights(architecture, 0, folder / "models")
    run = settings.pretraining(architecture, 0, world, weights.parent)
    fine_tune(run.model_copy(update={"optimization": run.optimization.model_copy(update=SHORT)}))
    return weights


def test_settings_are_foretold_and_last_maps_solved(emoji, tmp_path, monkeypatch):
    tuning, predict, solve, cells = (emoji[name] for name in ("tuning", "predict", "solve", "cells"))
    monkeypatch.setattr(emoji["world"], "TRAINING_POSES", 8)  # a batch
    monkeypatch.setattr("tracer.last_layer.features.MOST_REPLAYED", 80)
    emoji["make"].make(tmp_path / "emoji")
    pretrained(emoji["settings"], "resnet", tmp_path / "emoji", tmp_path)
    known = ["flyp-0.0003", "l2_sp-0.001-3", "replay, noise-0.001-1", "replay, captions-0.001-1", "linear_probe-0.001"]
    monkeypatch.setattr(emoji["settings"], "STEPS", 2)
    tried = [cell for cell in tuning.candidates() if cell.name in known]
    monkeypatch.setattr(tuning, "candidates", lambda: tried)
    places = ["--world", str(tmp_path / "emoji"), "--models", str(tmp_path / "models"), "--runs", str(tmp_path / "runs")]
    arguments = tuning.options(None).parse_args(places)
    foretold = [*predict.predicted("resnet", arguments)]
    assert {line["name"] for line in foretold} == {*known[:4], *(f"wise_ft {x:g} of {known[0]}" for x in tuning.INTERPOLATIONS)}
    solved = [*solve.of_start(cells.Start("food-high-contrast", "resnet", 0), arguments)]
    assert [line["name"] for line in solved] == [*solve.METRICS]
    start = cells.Start("food-high-contrast", "resnet", 0)
    of_pools, of_banks = ([*made(start, arguments)] for made in (emoji["coverage"].of_pools, emoji["coverage"].of_banks))
    assert {line["pool"] for line in of_pools} == set(emoji["compare"].pools_of(start.task, tmp_path / "emoji"))
    words, captions = (next(line["coverage"] for line in of_banks if line["bank"] == bank) for bank in emoji["coverage"].BANKS)
    assert words < captions
    told = [*(line["coverage"] for line in of_pools + of_banks), *(line["OOD"] for line in foretold + solved)]
    assert all(0 <= share <= 1 for share in told)


def test_finished_runs_keep_their_weights_and_no_checkpoints(emoji, tmp_path, monkeypatch):
    cells, tuning = emoji["cells"], emoji["tuning"]
    emoji["make"].make(tmp_path / "emoji")
    pretrained(emoji["settings"], "resnet", tmp_path / "emoji", tmp_path)
    places = ["--world", str(tmp_path / "emoji"), "--models", str(tmp_path / "models"), "--runs", str(tmp_path / "runs")]
    arguments = tuning.options(None).parse_args([*places, "--processes", "1"])
    short = cells.Cell("short", "flyp", {"optimization": SHORT}, (0.5,), {"setting": "best"})
    in_two = cells.Cell("in two", "lp_ft", {"optimization": SHORT})
    start = cells.Start("animals-flat", "resnet", 0)
    lines = cells.run([short, in_two], [start], [3], "test", arguments)
    assert [line["name"] for line in lines] == ["short", "wise_ft 0.5 of short", "in two"]
    folders = [next((tmp_path / "runs").rglob(name)) for name in ("short, best-3", "in two-3")]
    assert all((folder / "student.safetensors").exists() for folder in folders)
    assert [*(tmp_path / "runs").rglob("checkpoints")] == []
    arguments.seed = 3
    monkeypatch.setattr("tracer.evaluation.temperature.fit", lambda logits, labels: 2.0)  # two steps teach too little to fit one
    (line,) = emoji["calibration"].of_start([short], start, arguments)
    assert line["setting"] == "best"
    assert line["ID ECE before"] == pytest.approx(lines[0]["ID ECE"], abs=1e-5)
    assert line["OOD ECE after"] != line["OOD ECE before"]
    with pytest.raises(UserError, match=r"student.safetensors is missing: run compare.py strategies --seeds 3 before"):
        [*emoji["calibration"].of_start([cells.Cell("other", "flyp")], start, arguments)]
    rows = folders[0] / "rows.json"
    kept = json.loads(rows.read_text())
    kept["rows"][0]["report"]["id"]["accuracy"] = 2
    rows.write_text(json.dumps(kept))
    assert cells.run([short], [start], [3], "test", arguments)[0]["ID"] == 2


def test_what_was_foretold_is_held_to_what_was_measured(emoji):
    foresight = emoji["foresight"]
    measured = [
        {"architecture": "vit", "name": str(number), "ID": 0.9 + number / 1000, "OOD": 0.5 - number / 100, "learning_rate": 1e-3}
        for number in range(4)
    ]
    foretold = [{**line, "ID": 0.5, "OOD": line["OOD"] * (1 if line["name"] != "2" else 3)} for line in measured]
    ((architecture, lines),) = foresight.joined([*foretold, {"architecture": "resnet", "name": "0"}], measured).items()
    assert architecture == "vit"
    assert [line["name"] for line in lines] == ["0", "1", "2", "3"]
    assert foresight.chosen(lines, lines)["name"] == "0"
    assert foresight.chosen(lines, [line[foresight.FORETOLD] for line in lines])["name"] == "2"


def test_a_frontier_leaves_out_what_another_setting_betters_in_both(emoji):
    points = [(0.9, 0.2), (0.5, 0.6), (0.7, 0.1), (0.8, 0.4)]
    frontiers = emoji["frontiers"]
    assert frontiers.undominated(points) == [(0.5, 0.6), (0.8, 0.4), (0.9, 0.2)]


def test_a_row_has_the_best_of_what_gives_up_few_enough_points(emoji, monkeypatch):
    def line(what, learned, ood):
        return {"architecture": "vit", "what": what, "ID": learned, "OOD": ood, "knowledge": 0.25}

    frontiers = emoji["frontiers"]
    monkeypatch.setattr(frontiers, "ARCHITECTURES", ("vit",))
    monkeypatch.setattr(frontiers, "TABLED", ("flyp", "tracer", "l2_sp"))
    tracers = [line("tracer", *each) for each in ((0.89, 0.2), (0.85, 0.3), (0.81, 0.4), (0.7, 0.6))]
    _, _, flyp, tracer, l2_sp = frontiers.table([line("flyp", 0.9, 0.1), *tracers, line("l2_sp", 0.7, 0.9)])
    assert flyp == "| flyp | 10.0 / 25.0 (0.0) | 10.0 / 25.0 (0.0) |"
    assert tracer == "| tracer | 20.0 / 25.0 (1.0) | 40.0 / 25.0 (9.0) |"
    assert l2_sp == "| l2_sp |  |  |"


def test_lines_take_the_place_of_their_own_run(emoji, tmp_path):
    cells, path = emoji["cells"], tmp_path / "lines.json"
    assert cells.read(path) == []
    for architecture, name, seed, value in (
        ("vit", "flyp", 1, 0),
        ("vit", "tracer", 1, 1),
        ("resnet", "flyp", 0, 2),
        ("vit", "flyp", 0, 3),
    ):
        cells.write(path, [{"architecture": architecture, "name": name, "seed": seed, "value": value}])
    cells.write(path, [{"architecture": "vit", "name": "flyp", "seed": 1, "value": 4}])
    assert [line["value"] for line in cells.read(path)] == [2, 3, 4, 1]


def test_what_is_not_tuned_is_told(emoji, tmp_path, monkeypatch):
    monkeypatch.setattr(emoji["cells"], "HERE", tmp_path)
    with pytest.raises(UserError, match=r"no setting is chosen for the vit: run tuning.py --architectures vit before"):
        emoji["tuning"].choices("vit")


MISTAKES = {
    "glyphs are one task, and have no pools of drawings": ("pools", "--architectures", "glyphs-vit"),
    "there is no part 'task': name some of strategies, tasks, pools, horizons": ("strategies", "task"),
}


@pytest.mark.parametrize("sentence", MISTAKES)
def test_parts_that_there_are_not_are_told(sentence, emoji, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["compare.py", *MISTAKES[sentence]])
    with pytest.raises(SystemExit) as stopped:
        emoji["compare"].main()
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


def test_every_line_is_of_the_setting_that_was_chosen(emoji):
    cells, compare, tuning = emoji["cells"], emoji["compare"], emoji["tuning"]
    arguments = compare.options().parse_args([])
    for part, planned in compare.PARTS.items():
        lines = cells.read(cells.HERE / f"{part}.json")
        assert lines
        for architecture in {line["architecture"] for line in lines}:
            told = {cell.name: cell.told.get("setting") for cell in planned(tuning.choices(architecture), arguments)}
            own = [line for line in lines if line["architecture"] == architecture]
            assert {line["name"]: line.get("setting") for line in own}.items() <= told.items()
            assert len({(line["name"], line.get("setting")) for line in own}) == len({line["name"] for line in own})


def test_worlds_are_compared_where_both_strategies_were_run(emoji):
    worlds = emoji["worlds"]
    lines = [
        {"name": name, "pretrained": model, "seed": 0, **dict.fromkeys(worlds.MEASURED, value + model)}
        for name, value in (("flyp", 0.5), ("tracer", 0.52))
        for model in range(3)
    ]
    places = [worlds.Place("drawings", "animals-flat", "vit", each) for each in (lines, lines[:3])]
    rows = {line.split(" | ")[0]: line for line in worlds.table(places)}
    assert rows["| OOD, tracer - flyp"] == "| OOD, tracer - flyp | +2.0 ± 0.0 |  |"
    assert rows["| OOD, flyp - zero_shot"] == "| OOD, flyp - zero_shot |  |  |"
    worse = [{**line, "OOD": -line["OOD"]} for line in lines]
    wide = [{**line, "OOD": line["OOD"] + 0.1 * line["pretrained"] * (line["name"] == "tracer")} for line in lines]
    further = [places[0]._replace(lines=each) for each in (worse, wide)]
    rows = {line.split(" | ")[0]: line for line in worlds.summary([*places, *further], ["ID", "OOD"])}
    assert (
        rows["| tracer - flyp"].split(" | ")[2].rstrip(" |")
        == "-2.0 to +12.0 (1↑\N{NO-BREAK SPACE}1↓\N{NO-BREAK SPACE}of\N{NO-BREAK SPACE}3)"
    )
    assert rows["| flyp - zero_shot"] == "| flyp - zero_shot |  |  |"


def test_strategies_are_compared_over_the_runs_that_both_have(emoji):
    runs = [("flyp", 0, 0), ("flyp", 1, 0), ("tracer", 1, 0), ("tracer", 0, 0), ("tracer", 0, 1)]
    lines = [
        {"name": name, "pretrained": model, "seed": seed, "OOD": model / 10 + 0.02 * (name == "tracer") + seed}
        for name, model, seed in runs
    ]
    found = emoji["orderings"].difference(lines, "OOD", ("tracer", "flyp"))
    assert emoji["orderings"].shown(found) == "+2.0 ± 0.0"


def test_published_differences_stand_beside_those_measured(emoji):
    names = {name for pair in emoji["orderings"].COMPARED for name in pair}
    lines = [
        {
            "name": name,
            "architecture": "vit",
            "pretrained": model,
            "seed": 0,
            **dict.fromkeys(("ID", "OOD", "OOD ECE"), rank / 10 + model),
        }
        for rank, name in enumerate(sorted(names))
        for model in range(3)
    ]
    rows = {line.split(" | ")[0]: line for line in emoji["orderings"].table(lines)}
    # 42.73 - 42.52, 64.07 - 58.39, 75.32 - 70.93 (Tables 6, 1 and 7)
    assert rows["| OOD, tracer - zero_shot"] == "| OOD, tracer - zero_shot | +0.2 | +5.7 | +4.4 | -10.0 ± 0.0 |"
    assert rows["| OOD, static_distillation - l2_sp"].startswith("| OOD, static_distillation - l2_sp |  | +2.2 |  |")


def test_the_same_drawings_make_the_same_world(emoji, tmp_path):
    for name in ("one", "other"):
        emoji["make"].make(tmp_path / name)
    assert emoji["make"].fingerprint(tmp_path / "one") == emoji["make"].fingerprint(tmp_path / "other")
    next((tmp_path / "one").rglob("*.png")).unlink()
    assert emoji["make"].fingerprint(tmp_path / "one") != emoji["make"].fingerprint(tmp_path / "other")


def test_another_archive_than_the_one_meant_is_refused(emoji, tmp_path):
    package = emoji["drawings"].NAMES
    package.fetch(tmp_path)
    package.file(tmp_path).write_bytes(b"another")
    with pytest.raises(UserError, match=r"instead of .*: remove it, and fetch it again"):
        package.fetch(tmp_path)


def test_an_npm_that_fails_is_told(emoji, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["make.py", "--output", str(tmp_path / "emoji")])
    (tmp_path / "bin" / "npm").write_text("#!/bin/sh\necho no such host >&2; exit 1\n")
    assert emoji["make"].main() == 2
    assert "npm cannot get emojibase-data@17.0.0 (no such host): check the network" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(tmp_path))
    assert emoji["make"].main() == 2
    assert "npm, which fetches the drawings, is not installed" in capsys.readouterr().err
    assert not (tmp_path / "emoji").exists()


def test_a_world_that_is_there_is_kept(emoji, tmp_path):
    with pytest.raises(UserError, match="is there already: remove it"):
        emoji["make"].make(tmp_path)


def test_the_rule_takes_the_best_shifted_accuracy_at_the_tasks_own(emoji):
    flyp = {"what": "flyp", "learning_rate": 1e-3, "ID": 0.9, "OOD": 0.3}
    worse = {"what": "flyp", "learning_rate": 1e-4, "ID": 0.7, "OOD": 0.5}
    short, best, good = (
        {"what": "tracer", "strength": s, "ID": i, "OOD": o} for s, i, o in ((3, 0.88, 0.6), (1, 0.895, 0.5), (0, 0.9, 0.4))
    )
    weak = [{"what": "l2_sp", "strength": s, "ID": i, "OOD": o} for s, i, o in ((1, 0.5, 0.6), (0, 0.6, 0.5))]
    found = emoji["tuning"].chosen([worse, flyp, short, good, best, *weak])
    assert found == {"flyp": flyp, "tracer": best, "l2_sp": weak[1]}


@pytest.mark.parametrize(("task", "architecture"), [("animals-flat", "vit"), ("digits", "glyphs-vit")])
def test_every_setting_is_a_run(task, architecture, emoji, tmp_path):
    emoji["make"].make(tmp_path / "emoji")
    tuning, cells, compare = emoji["tuning"], emoji["cells"], emoji["compare"]
    arguments = compare.options().parse_args(["--world", str(tmp_path / "emoji")])
    assert task in emoji["settings"].tasks(architecture)
    start = cells.Start(task, architecture, 0)
    tried = tuning.candidates()
    lines = [{**cell.told, "name": cell.name, "ID": 0.5, "OOD": place / 1000} for place, cell in enumerate(tried)]
    lines.append({"what": "wise_ft", "name": "half", "learning_rate": 1e-3, "interpolation": 0.5, "ID": 0.5, "OOD": 0.5})
    chosen = tuning.chosen(lines)
    planned = [*tried, *(cell for part in (compare.strategies, compare.horizons) for cell in part(chosen, arguments))]
    planned += compare.pools(chosen, arguments) if task in emoji["world"].TASKS else []
    assert len({cell.name for cell in planned}) == len(planned)
    runs = {cell.name: cells.configuration(cell, start, 0, "validation", arguments) for cell in planned}
    assert len({run.output for run in runs.values()}) == len(planned)
    for what in tuning.TRIED:
        assert runs[what].optimization.learning_rate == chosen[what]["learning_rate"] == tuning.RATES[-1]
        assert (runs[what].replay or runs[what].strategy).strength == chosen[what]["strength"] == tuning.TRIED[what][1][-1]


def test_what_readme_and_page_show_is_what_was_measured(emoji):
    folder = Path(emoji["tables"].__file__).parent
    tables = (folder / "tables.md").read_text(encoding="utf-8")
    assert tables == "\n".join(emoji["tables"].text()) + "\n"
    readme = (folder / "README.md").read_text(encoding="utf-8").split("## The models")[1]
    page = (folder.parents[1] / "docs" / "two_worlds.md").read_text(encoding="utf-8")
    for text in (readme, page.split("## The numbers")[1]):
        shown = [line for line in text.splitlines() if line.startswith("| ")]
        assert len(shown) > 20
        assert [line for line in shown if line not in tables.splitlines()] == []
    told = [*INTERVAL.findall(readme), *INTERVAL.findall(page)]
    assert len(told) > 100
    assert set(told) <= set(INTERVAL.findall(tables))
