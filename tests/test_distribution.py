"""What is handed out: a wheel and a source distribution with all of the package and nothing else, whose needs are declared."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email import message_from_bytes
from importlib import metadata
from pathlib import Path

import grimp
import pytest
import yaml

import tracer
from tracer.errors import DISTRIBUTION

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGE = {
    file.relative_to(ROOT).as_posix()
    for file in (ROOT / "tracer").rglob("*")
    if file.is_file() and not {"__pycache__", ".ipynb_checkpoints"} & set(file.parts)
}
NEEDED_BESIDE_CODE = {
    "tracer/py.typed",
    "tracer/demo/report.html",
    "tracer/explorer/page.html",
    "tracer/explorer/style.css",
    "tracer/explorer/main.js",
    *(f"tracer/toy/checkpoints/glyphs-{seed}.safetensors" for seed in range(3)),
}
OPTIONAL = {"pyarrow"}  # imported where its extra is asked for


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder with both distributions."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", folder], cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def canonical(requirement: str) -> str:
    """A distribution's name, without versions and spelt one way."""
    return re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", requirement)[0]).lower()


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    files = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert files == PACKAGE
    assert files > NEEDED_BESIDE_CODE


def test_the_source_distribution_builds_the_same_package(built):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    beside = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "PKG-INFO", ".gitignore"}
    assert files == PACKAGE | beside


def test_metadata_says_what_the_package_says(wheel):
    (info,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    said = message_from_bytes(wheel.read(f"{info}/METADATA"))
    assert (said["Name"], said["Version"]) == (DISTRIBUTION, tracer.__version__)
    always = {canonical(need) for need in said.get_all("Requires-Dist") if "extra ==" not in need}
    assert always == {canonical(need) for need in PROJECT["dependencies"]}
    assert wheel.read(f"{info}/entry_points.txt").decode().split() == ["[console_scripts]", "tracer", "=", "tracer.cli:main"]


def test_the_packages_that_are_imported_are_those_declared():
    found = grimp.build_graph("tracer", include_external_packages=True).modules
    imported = {name for name in found if name.partition(".")[0] not in {"tracer", *sys.stdlib_module_names}} - OPTIONAL
    distributions = metadata.packages_distributions()
    named = {canonical(name) for module in imported for name in distributions[module]}
    implied = {"torchvision"}  # open_clip's transforms, of the version that goes with torch
    brought = {"pydantic-core"}  # by pydantic, in the one version that it takes
    assert (named | implied) - brought == {canonical(need) for need in PROJECT["dependencies"]}


def test_advice_names_this_distribution():
    assert PROJECT["name"] == DISTRIBUTION
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    advised = re.findall(r"pip install ['\"]?(tracer[\w-]*)", "\n".join(page.read_text(encoding="utf-8") for page in pages))
    assert set(advised) <= {DISTRIBUTION}


def test_the_citation_is_of_this_version_and_names_the_paper():
    """What format 1.2.0 asks of every file and of every reference."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0"
    assert cited["version"] == tracer.__version__
    assert cited["license"] == PROJECT["license"]
    for work in (cited, *cited["references"]):
        assert work["title"]
        assert all("name" in author or "family-names" in author for author in work["authors"])
    assert all(reference["type"] for reference in cited["references"])
    assert [reference["url"] for reference in cited["references"]] == ["https://arxiv.org/abs/2605.29380"]
    assert cited["message"]


def test_what_the_guide_for_contributors_names_exists():
    named = re.findall(r"`((?:tracer|tests|docs)/[\w/]*(?:\.\w+)?)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).exists()] == []
