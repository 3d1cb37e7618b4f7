"""Every notebook runs from clean, and what is committed of it was made from its source."""

import base64
import json
import shutil

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from notebooks import build

BYTES = 700_000
HEADER = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# A title

# %%
"""


@pytest.fixture(params=build.sources(), ids=lambda path: path.stem)
def source(request):
    return request.param


def test_runs_from_clean(source):
    """No cell fails, and the committed notebook shows what each cell puts out."""
    executed = build.execute(build.read_source(source))
    committed = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    assert build.kinds_of_output(committed) == build.kinds_of_output(executed)
    shown = {kind for kinds in build.kinds_of_output(committed) for kind in kinds}
    assert "image/png" in shown
    assert "stderr" not in shown  # warnings name files of this machine


def test_is_made_from_its_source(source):
    assert not build.is_stale(source), f"run python notebooks/build.py {source.stem}"
    assert source.with_suffix(".ipynb").stat().st_size < BYTES


def test_a_stale_notebook_is_found(source, tmp_path):
    copies = [shutil.copy(source.with_suffix(suffix), tmp_path) for suffix in (".py", ".ipynb")]
    copy = tmp_path / source.name
    assert not build.is_stale(copy)
    copy.write_text(source.read_text() + "\n# %%\n1 + 1\n")
    assert build.is_stale(copy)
    shutil.copy(source, copy)
    edited = nbformat.read(copies[1], as_version=4)
    edited.cells[-1].source += " by hand"
    nbformat.write(edited, copies[1])
    assert build.is_stale(copy)


def test_a_notebook_that_was_never_built_is_stale(tmp_path):
    (tmp_path / "7_new.py").write_text(HEADER + "1 + 1\n")
    assert build.is_stale(tmp_path / "7_new.py")


def test_the_same_source_is_the_same_file(tmp_path):
    source = tmp_path / "7_new.py"
    source.write_text(HEADER + "print(1)\nprint(2)\n3\n")
    made = []
    for _ in range(2):
        build.build(source)
        made.append(source.with_suffix(".ipynb").read_text())
    assert made[0] == made[1]
    assert not build.is_stale(source)
    assert "execution_start" not in made[0]


def test_a_failing_cell_leaves_the_old_notebook(tmp_path):
    source = tmp_path / "7_new.py"
    source.write_text(HEADER + "1 / 0\n")
    source.with_suffix(".ipynb").write_text("old")
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        build.build(source)
    assert source.with_suffix(".ipynb").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["7_new.ipynb", "7_new.py"]


def test_the_gallerys_pictures_are_the_notebooks():
    pictures = sorted((build.HERE.parent / "docs" / "gallery").glob("[0-9]*.png"))
    assert len(pictures) >= 4
    for picture in pictures:
        notebook = json.loads((build.HERE / f"{picture.stem}.ipynb").read_text(encoding="utf-8"))
        outputs = [output.get("data", {}) for cell in notebook["cells"] for output in cell.get("outputs", ())]
        drawn = [base64.b64decode(data["image/png"]) for data in outputs if "image/png" in data]
        assert picture.read_bytes() in drawn, f"{picture} is older than its notebook: take the picture from there"
