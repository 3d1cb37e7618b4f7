"""Write the notebooks anew from their sources: NAME.ipynb, executed, from NAME.py.

python notebooks/build.py [NAME ...]      without names: all of them
"""

import argparse
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbformat
import zmq
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbclient.output_widget import OutputWidget
from nbformat import NotebookNode

from tracer.storage import write_text

HERE = Path(__file__).parent
WIDGET = "application/vnd.jupyter.widget-view+json"
CELL_SECONDS = 600  # of a cell that takes some ten, and hangs if it takes that many


class _Output(OutputWidget):
    """What a widget's output tells the kernel, after which the client looks whether the kernel has answered.

    It tells it past the client's event loop, which may then sleep through an answer that comes at that moment, until the time of
    the cell is over.
    """

    def send(self, *arguments, **named) -> None:
        super().send(*arguments, **named)
        self.kernel_client.shell_channel.socket.get(zmq.EVENTS)


def sources() -> list[Path]:
    """The notebooks' sources, in their order."""
    return sorted(path for path in HERE.glob("[0-9]*.py"))


def read_source(path: Path) -> NotebookNode:
    """The notebook of a source, not executed; cells are named by their position, so that the same source is the same file."""
    notebook = jupytext.read(path)
    kernel = notebook.metadata.kernelspec
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": kernel.language}})
    notebook.update(nbformat=4, nbformat_minor=5)
    for position, cell in enumerate(notebook.cells):
        cell.update(id=f"cell-{position}", metadata={})
    return notebook


def execute(notebook: NotebookNode) -> NotebookNode:
    """The notebook, run from its first cell in a fresh kernel that works in this folder, as Jupyter's would.

    Raises:
        CellExecutionError: if a cell fails.
    """
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        resources={"metadata": {"path": str(HERE)}},
        record_timing=False,
        coalesce_streams=True,
    )
    client.widget_registry = {"@jupyter-widgets/output": {"OutputModel": _Output}}
    client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":  # a widget lives with its kernel: what is saved of it shows nothing
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    notebook.metadata.pop("widgets", None)
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def code_and_text(notebook: NotebookNode) -> list[tuple[str, str]]:
    """Kind and source of every cell."""
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def kinds_of_output(notebook: NotebookNode) -> list[list[str]]:
    """What every cell put out: stream names and MIME types."""
    return [[kind for output in cell.get("outputs", []) for kind in _kinds(output)] for cell in notebook.cells]


def is_stale(source: Path) -> bool:
    """Whether a source's notebook is absent or was made from another source."""
    notebook = source.with_suffix(".ipynb")
    if not notebook.exists():
        return True
    return code_and_text(nbformat.read(notebook, as_version=4)) != code_and_text(read_source(source))


def build(source: Path) -> str:
    """Write a source's notebook whole, or not at all if a cell fails; what was done in one line."""
    started = time.perf_counter()
    text = nbformat.writes(execute(read_source(source))) + "\n"
    write_text(source.with_suffix(".ipynb"), text)
    return f"{source.stem}: {time.perf_counter() - started:.1f} s, {len(text.encode()) / 1000:.0f} kB"


def _kinds(output: NotebookNode) -> Iterator[str]:
    yield from sorted(output.data) if "data" in output else [output.get("name", output.output_type)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a notebook, 1_the_two_forces say")
    names = [name.removesuffix(".py") for name in parser.parse_args().names]
    chosen = [path for path in sources() if path.stem in names or not names]
    unknown = set(names) - {path.stem for path in chosen}
    if unknown:
        parser.error(f"no notebook {', '.join(sorted(unknown))}: there are {', '.join(path.stem for path in sources())}")
    for source in chosen:
        try:
            print(build(source), flush=True)
        except CellExecutionError as error:
            plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
            print(f"{source.stem}: a cell failed, nothing was written\n{plain}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
