"""The site builds without a warning, its examples do what they say, and each kind of mistake is noticed."""

import contextlib
import doctest
import importlib
import io
import pkgutil
import re
import shlex
import shutil
import types
from html import unescape
from pathlib import Path

import pytest
import yaml
from sphinx.cmd.build import build_main

import tracer
from tracer import cli, theory
from tracer.config import loading, schema
from tracer.errors import UserError
from tracer.runs import sweep
from tracer.strategies import PRESETS
from tracer.theory.claims import CLAIMS

ROOT = Path(__file__).parents[1]
GUIDES = sorted(
    page for page in (ROOT / "docs").glob("*.md") if page.name not in ("moving.md", "own_loop.md")
)  # these have tests of their own
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
MODULES = [module.name for module in pkgutil.walk_packages(tracer.__path__, "tracer.")]

# Sphinx tells the authors of its extensions what to change
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning", "ignore::DeprecationWarning")


def run_examples(page: str) -> int:
    """Run a page's Python blocks from top to bottom in this folder, compare what they print; check its YAML and its commands."""
    names: dict = {}
    found = 0
    for language, content, expected in BLOCK.findall(page):
        if language == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(content, names)
            assert printed.getvalue() == expected
        elif language == "yaml":
            check_yaml(content)
        elif language == "sh":
            for line in content.splitlines():
                if line.startswith("tracer "):
                    cli._options(cli._parser(), shlex.split(line)[1:])
        found += language in ("python", "yaml", "sh")
    return found


def check_yaml(content: str) -> None:
    values = yaml.safe_load(content)
    if "grid" in values:
        Path("grid.yaml").write_text(content, encoding="utf-8")
        sweep.load(Path("grid.yaml"))
    else:
        loading.validate(values, "the page")


class Site:
    """The documentation in a folder of its own, where pages can be planted and the rest of the repository is that of this test."""

    def __init__(self, folder: Path):
        self.docs, self.html = folder / "docs", folder / "docs" / "_build" / "html"
        shutil.copytree(ROOT / "docs", self.docs, ignore=shutil.ignore_patterns("_build", "repository", "__pycache__"))
        for other in ROOT.iterdir():
            if other.name not in ("docs", ".git"):
                (folder / other.name).symlink_to(other)

    def build(self) -> tuple[int, str]:
        """Exit code and warnings of the build; pages that have not changed are taken from the last one."""
        warnings = io.StringIO()
        with contextlib.redirect_stderr(warnings), contextlib.redirect_stdout(io.StringIO()):
            code = build_main(["-W", "--keep-going", "-n", "-q", "-b", "html", str(self.docs), str(self.html)])
        return code, warnings.getvalue()

    def build_with(self, content: str) -> tuple[int, str]:
        """The same with one page more, which no table of contents has to list."""
        page = self.docs / "planted.md"
        page.write_text(f"---\norphan: true\n---\n\n# Planted\n\n{content}\n", encoding="utf-8")
        try:
            return self.build()
        finally:
            page.unlink()

    def text(self, page: str) -> str:
        return unescape(re.sub(r"<[^>]+>", "", (self.html / page).read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    site = Site(tmp_path_factory.mktemp("site"))
    code, warnings = site.build()
    assert (code, warnings) == (0, ""), warnings
    return site


def test_generated_pages_list_everything(site):
    keys = site.text("api/configuration.html")
    written = schema.RunConfig.model_json_schema()
    for section in (written, *written["$defs"].values(), *sweep.SweepConfig.model_json_schema()["$defs"].values()):
        for key in section["properties"]:
            assert re.search(rf"(^|\.){key}$", keys, re.MULTILINE), key
    assert set(PRESETS) <= set(site.text("api/strategies.html").split())
    claims = site.text("api/claims.html")
    assert [claim.id for claim in CLAIMS.values() if claim.statement not in claims or claim.id not in claims] == []


def test_every_symbol_of_the_claims_is_explained(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "_ext")
    symbols = importlib.import_module("symbols")
    assert symbols.unexplained() == set()
    monkeypatch.delitem(symbols.SYMBOLS, "y")
    assert symbols.unexplained() == {"y"}


def test_the_reference_has_the_face_of_the_theory(site):
    page = (site.html / "api" / "theory.html").read_text(encoding="utf-8")
    missing = [name for name in theory.__all__ if f'id="tracer.theory.{name}"' not in page]
    assert missing == ["STRATEGIES"]  # it stands there by its full name
    assert 'id="tracer.theory.strategies.STRATEGIES"' in page


def documented_modules() -> set[str]:
    """Modules that the reference shows: as a whole, or by something of theirs."""
    found = set()
    for page in (ROOT / "docs" / "api").glob("*.rst"):
        for kind, name in re.findall(r"^ *\.\. auto(\w+):: (\S+)", page.read_text(encoding="utf-8"), re.MULTILINE):
            parent, _, last = name.rpartition(".")
            found.add(name if kind == "module" else getattr(pkgutil.resolve_name(f"{parent}:{last}"), "__module__", parent))
    return found


def test_the_reference_has_every_module():
    shown = documented_modules()
    assert shown - set(MODULES) == set(), "these moved: change docs/api"
    on_the_claims_page = "tracer.theory.claims."
    missing = {name for name in MODULES if "._" not in name and not name.startswith(on_the_claims_page)} - shown
    assert missing == set(), "add them to their package's page in docs/api"


def test_every_package_has_a_page():
    pages = {page.stem for page in (ROOT / "docs" / "api").glob("*.rst")}
    packages = {module.name for module in pkgutil.iter_modules(tracer.__path__) if module.ispkg}
    assert packages - pages == set()


def test_experiments_and_readme_are_pages(site):
    for readme in (ROOT / "README.md", *ROOT.glob("experiments/*/README.md")):
        assert (site.html / "repository" / readme.relative_to(ROOT).with_suffix(".html")).is_file()


SOUND = "[theory](theory.md#claims), [a result](../experiments/frontier/results.json), [a folder](../experiments/horizons/), $x^2$"
BROKEN = {
    "[a page](no_such_page.md)": "no_such_page.md",
    "[an anchor](theory.md#no-such-heading)": "no-such-heading",
    "[a file](../experiments/frontier/no_such_file.json)": "no_such_file.json",
    "[a folder](../experiments/no_such_folder/)": "no_such_folder",
    "```{eval-rst}\n:py:func:`tracer.theory.no_such_function`\n```": "no_such_function",
    "```{eval-rst}\n:py:named:`tracer.no_such_name`\n```": "no_such_name",
    "$\\nosuchcommand$": "nosuchcommand",
}


def test_broken_links_references_and_formulas_fail(site):
    assert site.build_with(SOUND) == (0, "")
    code, warnings = site.build_with("\n\n".join(BROKEN))
    assert code != 0
    told = [line for line in warnings.splitlines() if "WARNING" in line]
    assert [broken for broken in BROKEN.values() if sum(broken in line for line in told) != 1] == []
    assert len(told) == len(BROKEN)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda page: page.stem)
def test_guides_do_what_they_say(guide, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = guide.read_text(encoding="utf-8")
    assert run_examples(page) == len(re.findall(r"^```(?:python|yaml|sh)$", page, re.MULTILINE))


@pytest.mark.parametrize(
    ("block", "error"),
    [
        ("```python\nprint(1 + 1)\n```\n\n```text\n3\n```", AssertionError),
        ("```python\nprint(1 + 1)\n```", AssertionError),
        ("```python\nimport tracer.no_such_module\n```", ImportError),
        ("```yaml\nstrategy: {nmae: tracer}\n```", UserError),
        ("```sh\ntracer train --no-such-flag\n```", SystemExit),
    ],
)
def test_a_wrong_example_fails(block, error):
    with pytest.raises(error):
        run_examples(block)


def test_docstrings_do_what_they_say():
    results = {name: doctest.testmod(importlib.import_module(name)) for name in MODULES}
    assert {name: result for name, result in results.items() if result.failed} == {}
    assert sum(result.attempted for result in results.values()) > 50


def test_a_wrong_docstring_fails():
    module = types.ModuleType("wrong", ">>> 1 + 1\n3")
    with contextlib.redirect_stdout(io.StringIO()):
        assert doctest.testmod(module).failed == 1
