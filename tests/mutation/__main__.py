"""Do the tests notice when the code is changed? `python -m tests.mutation` changes it in many places, one at a time.

Cosmic Ray's changes, drawn at random from every file its share, each tried with the tests that run its line. The tests draw the
same random numbers every time. What is not noticed is listed; the command fails if the share that is noticed falls below a bound.
"""

import argparse
import json
import os
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from scipy import stats

from tests.mutation.mutants import ROOT, Mutant, files, sample
from tests.mutation.trial import BROKEN, Seen, import_libraries, trial, watch

# theory/claims may be asked for: its proofs are tests themselves, and as much code as all the rest
MODULES = (
    "averaging",
    "number_checks",
    "schedules",
    "theory",
    "theory/closed_forms",
    "training/checkpoints",
    "training/losses",
    "training/teacher",
)
TESTS = (
    "tests/theory",
    "tests/unit/test_averaging.py",
    "tests/unit/training/test_losses.py",
    "tests/unit/test_number_checks.py",
    "tests/unit/test_schedules.py",
    "tests/unit/training/test_checkpoints.py",
    "tests/unit/training/test_teacher.py",
    "tests/unit/training/test_objective.py",
    "tests/unit/training/test_trainer.py",
    "tests/crosscheck/test_gradient_descent.py",
    "tests/crosscheck/test_proximal.py",
)
BOUND = 0.92
SECONDS = 20  # of tests that a mutant is given, the quickest first
FOLDER = ROOT / ".cache" / "mutants"
RESULTS = FOLDER / "results.json"
EQUIVALENT = Path(__file__).with_name("equivalent.toml")


def main() -> int:
    arguments = _arguments()
    FOLDER.mkdir(parents=True, exist_ok=True)
    mutants, noticed = _last() if arguments.again else (sample(files(arguments.modules), arguments.sample, arguments.seed), set())
    waiting = [mutant for mutant in mutants if mutant not in noticed]
    started = monotonic()
    seen = watch(list(TESTS), FOLDER)
    import_libraries(seen)
    print(f"{len(seen.seconds)} tests pass on the code as it is; {len(waiting)} mutants follow", flush=True)
    for number, (mutant, seen_through) in enumerate(_tried(waiting, seen, arguments.jobs), 1):
        if seen_through:
            noticed.add(mutant)
        else:
            print(f"{mutant.module}:{mutant.line}: {mutant.before}  ->  {mutant.after}", flush=True)
        if number % 50 == 0:
            print(f"{number} tried", flush=True)
    RESULTS.write_text(json.dumps([(mutant, mutant in noticed) for mutant in mutants]))
    return _report(mutants, noticed, monotonic() - started)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description="Change the code and see whether the tests notice."
    )
    parser.add_argument("modules", nargs="*", default=MODULES, help="modules and folders of tracer (default: %(default)s)")
    parser.add_argument("--sample", type=int, default=650, help="how many mutants to draw (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes (default: one a core)")
    parser.add_argument("--again", action="store_true", help="try only what was not noticed the last time")
    return parser.parse_args()


def _last() -> tuple[list[Mutant], set[Mutant]]:
    """The mutants of the last run, and which of them were noticed."""
    results = [(Mutant(*fields), seen) for fields, seen in json.loads(RESULTS.read_text())]
    return [mutant for mutant, _ in results], {mutant for mutant, seen in results if seen}


def _tried(mutants: list[Mutant], seen: Seen, jobs: int) -> Iterator[tuple[Mutant, bool]]:
    """Each mutant, and whether the tests noticed it, as soon as that is known."""
    waiting, running = list(reversed(mutants)), {}
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            tests, seconds = _affordable(seen, mutant)
            if tests:
                running[trial(mutant, tests, seconds)] = mutant
            else:
                yield mutant, False
        pid, status = os.wait()
        mutant = running.pop(pid)
        if os.waitstatus_to_exitcode(status) == BROKEN:
            raise SystemExit(f"no tests were run on {mutant.module}:{mutant.line}")
        yield mutant, status != 0


def _affordable(seen: Seen, mutant: Mutant) -> tuple[list[str], float]:
    tests, seconds = [], 0.0
    for test in seen.tests_of(mutant):
        seconds += seen.seconds[test]
        if seconds > SECONDS and tests:
            break
        tests.append(test)
    return tests, seconds


def _report(mutants: list[Mutant], noticed: set[Mutant], seconds: float) -> int:
    drawn, seen = (Counter(mutant.module for mutant in some) for some in (mutants, noticed))
    print(f"\n{'module':32} {'drawn':>6} {'noticed':>8}")
    for module, number in drawn.items():
        print(f"{module:32} {number:6} {seen[module]:8}")
    low, high = stats.binomtest(len(noticed), len(mutants)).proportion_ci(method="wilson")
    share = len(noticed) / len(mutants)
    print(f"\n{len(noticed)} of {len(mutants)} noticed: {share:.1%} (95 % interval {low:.1%} to {high:.1%})")
    alike = _equivalent()
    same = sum((mutant.module, mutant.before, mutant.after) in alike for mutant in mutants if mutant not in noticed)
    print(f"of the others {same} change nothing that can be seen: {len(noticed) / (len(mutants) - same):.1%} without them")
    print(f"in {seconds / 60:.0f} min")
    return int(share < BOUND)


def _equivalent() -> set[tuple[str, str, str]]:
    """Module, line and changed line of the mutants that are known to change nothing."""
    known = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))
    return {(module, before, after) for group in known["equivalent"] for module, before, after in group["mutants"]}


if __name__ == "__main__":
    sys.exit(main())
