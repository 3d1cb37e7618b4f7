"""What a user sees: the verdict fits a narrow terminal, names are printed as they are, plain lines where there is no terminal."""

import io

import pytest
from rich.console import Console

from tracer.data.images import CorruptSample
from tracer.evaluation.change import compared, verdict
from tracer.terminal import console
from tracer.terminal.progress import LONGEST_QUIET_SECONDS, QUIET_SECONDS, Standing

LONG = "a_shifted_set_with_quite_a_long_name_that_no_column_has_room_for"
MARKED = "[red]x[/red]"


def judged(accuracy, ece=0.04, ood=(LONG, MARKED), knowledge=("letters",)):
    """A report with one accuracy everywhere."""
    row = {"accuracy": accuracy, "ece": ece, "nll": 0.3, "brier": 0.1, "macro_f1": accuracy}
    return {
        "sets": {name: {**row, "count": 497, "classes": 10, "label_space": 10} for name in ("id", *ood, *knowledge)},
        "id": row,
        "ood": row if ood else {},
        "knowledge": row if knowledge else {},
    }


def console_of(width=80, terminal=False):
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, legacy_windows=False)


@pytest.fixture
def shown(monkeypatch):
    """What is printed on 80 columns."""
    monkeypatch.setattr(console, "console", console_of())
    return lambda: console.console.file.getvalue()


class TestVerdict:
    def test_changes_are_after_less_before(self):
        report = compared(judged(0.9, ece=0.02), pretrained=judged(0.75, ece=0.05), teacher=judged(0.85))
        assert report["change"]["ood"]["accuracy"] == pytest.approx(0.15)
        assert report["change"]["sets"][LONG]["ece"] == pytest.approx(-0.03)
        assert set(report["change"]["sets"]["id"]) == {"accuracy", "ece", "nll", "brier", "macro_f1"}
        assert {name: report[name] for name in judged(0)} == judged(0.9, ece=0.02)

    def test_sentence_names_gains_losses_and_what_is_unknown(self):
        before = judged(0.75, ece=0.05, knowledge=())
        after = judged(0.888, ece=0.02, knowledge=())
        after["ood"] = {**after["ood"], "accuracy": 0.738}
        told = verdict(compared(after, before))
        assert "gained 13.8 on the task, lost 1.2 on mean OOD; the calibration error on the task fell by 3.0" in told
        assert "no knowledge sets" in told.split("Not measured: ")[1]
        assert "no OOD sets" not in told

    def test_what_does_not_show_is_no_change(self):
        assert "nothing changed on the task" in verdict(compared(judged(0.9), judged(0.9004)))
        assert "calibration stayed" in verdict(compared(judged(0.9), judged(0.9)))

    def test_without_a_pretrained_model_nothing_is_claimed(self):
        report = compared(judged(0.9), teacher=judged(0.8))
        assert "change" not in report
        assert verdict(report).startswith("There is no pretrained model")

    def test_tables_fit_80_columns_and_lose_no_name(self, shown, tmp_path):
        console.report(compared(judged(0.9), judged(0.75), teacher=judged(1.0)), tmp_path)
        lines = shown().splitlines()
        tables = [line for line in lines if not line.startswith(("Against", "written"))]
        assert max(map(len, tables)) <= 80
        assert "before" in shown()
        assert "+15.0" in shown()
        first_column = "".join(line.split()[0] for line in tables if line.split())
        assert LONG in first_column
        assert MARKED in shown()
        assert "…" not in shown()

    def test_an_evaluation_alone_has_no_change(self, shown, tmp_path):
        console.report(judged(0.5), tmp_path)
        assert "change" not in shown()
        assert "50.0" in shown()


def test_taken_share_is_marked_and_knowledge_shown(shown, tmp_path):
    reports = [{"interpolation": share, "taken": share == 0.5, **judged(share)} for share in (0.0, 0.5)]
    console.interpolations(reports, tmp_path)
    assert "0.5 *" in shown()
    assert "mean of knowledge" in shown()
    assert "choose it on a validation suite" in shown()


def merged(name, **others):
    """A row of merged models."""
    return {"name": name, "report": judged(0.9), **others}


def test_merged_models_fit_80_columns_with_what_was_chosen(shown, tmp_path):
    chosen = {"method": "wise_ft", "parameters": {"model": "seed-1", "share": 0.2}, "candidates": 20}
    soup = {"method": "greedy_soup", "parameters": {"models": ["seed-1", "[b]2"]}, "candidates": 3}
    console.merges({"rows": [merged("pretrained"), merged("wise_ft", **chosen), merged("greedy_soup", **soup)]}, tmp_path)
    table = [line for line in shown().splitlines() if not line.startswith(("OOD", "written"))]
    assert max(map(len, table)) <= 80
    words = " ".join(shown().split())
    assert "model seed-1, share 0.2" in words or "share 0.2" in words
    assert "[b]2" in words
    assert "…" not in words


def test_calibration_is_shown_before_and_after(shown, tmp_path):
    after = judged(0.9)
    after["sets"]["id"] = {**after["sets"]["id"], "ece": 0.123, "nll": 0.456}
    told = {"temperature": 1.31, "images": 30, "section": "evaluation", "kept": "there.json", "before": judged(0.9), "after": after}
    console.calibration(told, "It hurts nowhere.", tmp_path)
    assert "temperature 1.31, fitted on 30 images of evaluation" in shown()
    assert "12.3" in shown()
    assert "0.456" in shown()
    assert "mean of knowledge" in shown()
    assert "It hurts nowhere. Accuracy stays" in shown()


def test_names_with_markup_are_printed_as_they_are(shown, tmp_path):
    console.skipped([CorruptSample(f"{MARKED}.png", "[/]")], tmp_path / MARKED)
    assert f"{MARKED}.png ([/])" in shown()


class TestPlainLines:
    def told(self, standing_console):
        return standing_console.file.getvalue().splitlines()

    def test_step_numbers_pace_and_time_left(self):
        now, out = 0.0, console_of()
        with Standing(out, "fine-tuning", 100, lambda: now) as standing:
            standing.stage("loading [bold]x")
            for step in range(1, 101):
                standing.log({"loss": 1 / step, "learning_rate": 1e-4, "images_per_second": 511.6, "gap": 3}, step)
                standing(step)
                now += 1.0
        lines = self.told(out)
        assert lines[0] == "fine-tuning: loading [bold]x"
        assert lines[1] == "fine-tuning: step 1/100 (1 %)  loss 1.000  rate 1.0e-04  511.6 images/s"
        assert lines[2] == "fine-tuning: step 6/100 (6 %)  loss 0.167  rate 1.0e-04  511.6 images/s  0:01:34 left"
        assert lines[-1].startswith("fine-tuning: step 100/100 (100 %)")
        assert len(lines) == 2 + 19 + 1

    def test_slow_runs_speak_between_percents_and_fast_ones_seldom(self):
        now, out = 0.0, console_of()
        standing = Standing(out, "slow", 10_000, lambda: now)
        for step in range(1, 61):
            standing(step)
            now += 2.0
        assert len(self.told(out)) == 1 + int(120 // LONGEST_QUIET_SECONDS) - 1
        now, out = 0.0, console_of()
        standing = Standing(out, "fast", 1000, lambda: now)
        for step in range(1, 1001):
            standing(step)
            now += QUIET_SECONDS / 2000
        assert len(self.told(out)) == 2

    def test_nothing_repeats_when_nothing_moves(self):
        out = console_of()
        standing = Standing(out, "waiting", 0, lambda: 0.0)
        for _ in range(3):
            standing(0)
        assert len(self.told(out)) == 1

    def test_a_terminal_has_a_bar_with_the_same_numbers(self):
        out = console_of(terminal=True)
        with Standing(out, "fine-tuning", 20) as standing:
            standing.log({"loss": 0.25, "learning_rate": 1e-3}, 20)
            standing(20)
        assert "20/20" in out.file.getvalue()
        assert "loss 0.250  rate 1.0e-03" in out.file.getvalue()

    def test_quiet_processes_say_nothing(self):
        out = console_of()
        out.quiet = True
        Standing(out, "other", 2, lambda: 0.0)(2)
        assert out.file.getvalue() == ""
