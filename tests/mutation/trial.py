"""Trials in processes of their own: the tests on the code as it is, and on mutants.

The processes are forked from one that has imported all the libraries but none of the project, so that a trial costs its tests
alone. Cosmic Ray's own way, a command line a mutant, would import torch each time, which takes seconds, and change the files.
"""

import json
import os
import resource
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import coverage
import pytest

from tests.mutation.mutants import ROOT, Mutant

OWN = ("tests", "tracer")
OF_IMPORTS = (
    "tests/theory/test_defaults.py",
    "tests/theory/test_immutable.py",
    "tests/unit/test_averaging.py::TestEveryKernel",
)
"""Tests of what an import makes, which run none of its lines."""
MEMORY = 8 * 2**30  # bytes that a mutant may allocate
PATIENCE = 5  # times as long as the tests take on the code as it is
GRACE = 20  # seconds more


class Seen(NamedTuple):
    """What the tests did on the code as it is.

    Attributes:
        seconds: of processor time that each test took, by its id.
        lines: tests by the lines that they run, by file; those run while a module is imported belong to no test.
        libraries: modules that were imported.
    """

    seconds: dict[str, float]
    lines: dict[str, dict[int, list[str]]]
    libraries: list[str]

    def tests_of(self, mutant: Mutant) -> list[str]:
        """The tests that run a mutant's line, quickest first; for one that an import runs, those of the file and `OF_IMPORTS`."""
        lines = self.lines.get(mutant.module, {})
        found = set(lines.get(mutant.line, []))
        if not found:
            of_imports = (test for test in self.seconds if test.startswith(OF_IMPORTS))
            found = {test for tests in lines.values() for test in tests}.union(of_imports)
        return sorted(found, key=self.seconds.__getitem__)


class _Watch:
    """Notes how long each test takes and, if asked to, which lines it runs; stops at a choice of tests, in its order."""

    def __init__(self, chosen: list[str] | None = None, tracer: coverage.Coverage | None = None):
        self.chosen, self.tracer = chosen, tracer
        self.seconds: dict[str, float] = {}

    def pytest_collection_modifyitems(self, config, items):
        if self.chosen is not None:
            place = {test: number for number, test in enumerate(self.chosen)}
            items[:] = sorted((item for item in items if item.nodeid in place), key=lambda item: place[item.nodeid])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        if self.tracer is not None:
            self.tracer.switch_context(item.nodeid)
        started = process_time()
        result = yield
        self.seconds[item.nodeid] = process_time() - started
        if self.tracer is not None:
            self.tracer.switch_context("")
        return result


class _Changed(MetaPathFinder):
    """Imports one module of the project from another source."""

    def __init__(self, mutant: Mutant):
        self._name = "tracer." + mutant.module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        self._source = mutant.source

    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        assert spec is not None
        assert isinstance(spec.loader, SourceFileLoader)
        spec.loader.get_code = lambda name: compile(self._source, spec.origin, "exec")  # type: ignore[method-assign]
        return spec


def watch(tests: list[str], folder: Path) -> Seen:
    """Run the tests on the code as it is, unless that was done and no file has changed since.

    Raises:
        SystemExit: if one fails, since then every mutant would look as if it had been noticed.
    """
    kept = folder / "seen.json"
    written = max(path.stat().st_mtime for name in OWN for path in (ROOT / name).rglob("*.py"))
    if not kept.exists() or kept.stat().st_mtime < written:
        pid = _forked(lambda: _look(tests, kept), None)
        if os.waitpid(pid, 0)[1] != 0:
            raise SystemExit("the tests fail on the code as it is")
    seconds, lines, libraries = json.loads(kept.read_text())
    return Seen(seconds, {file: {int(line): tests for line, tests in found.items()} for file, found in lines.items()}, libraries)


def _look(tests: list[str], kept: Path) -> int:
    tracer = coverage.Coverage(data_file=None, source=[str(ROOT / "tracer")])
    watch = _Watch(tracer=tracer)
    with tracer.collect():
        code = _pytest(tests, watch)
    data, lines = tracer.get_data(), {}
    for file in data.measured_files():
        contexts = data.contexts_by_lineno(file)
        module = Path(file).relative_to(ROOT / "tracer").as_posix()
        lines[module] = {line: [test for test in found if test] for line, found in contexts.items()}
    libraries = [name for name in sys.modules if name.split(".")[0] not in OWN]
    if code == 0:
        kept.write_text(json.dumps((watch.seconds, lines, libraries)))
    return code


def import_libraries(seen: Seen) -> None:
    """Import what the tests import, so that forked processes have it."""
    for name in seen.libraries:
        with suppress(Exception):  # some are not made to be imported by name
            import_module(name)


def trial(mutant: Mutant, tests: list[str], seconds: float) -> int:
    """Start the tests on a mutant; the id of the process, which exits with 0 if they notice nothing.

    Args:
        mutant: the change.
        tests: ids, in the order in which to run them.
        seconds: that they take on the code as it is.
    """

    def attempt() -> int:
        sys.meta_path.insert(0, _Changed(mutant))
        # the file that runs the line most often notices most, and alone it is collected in no time
        files = [file for file, _ in Counter(test.split("::")[0] for test in tests).most_common()]
        for some in filter(None, (files[:1], files[1:])):
            code = _pytest(some, _Watch(tests))
            if code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
                return BROKEN
            if code != 0:
                return code
        return 0

    return _forked(attempt, int(GRACE + PATIENCE * seconds))


BROKEN = 99
"""Exit status of a trial that ran no tests."""


def _pytest(arguments: list[str], watch: _Watch) -> int:
    return int(pytest.main([*arguments, "-x", "-q", "--disable-warnings", "--tb=no"], plugins=[watch]))


def _forked(work: Callable[[], Any], limit: int | None) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.chdir(ROOT)
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    if limit:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
    code = 3
    try:
        code = work()
    finally:
        os._exit(code)
