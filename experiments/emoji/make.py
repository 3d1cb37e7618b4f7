"""Fetches eight sets of emoji through npm, renders them, and writes the world of drawings to data/emoji. Needs resvg-py."""

import argparse
import hashlib
import shutil
import sys
from pathlib import Path

import drawings
import world

from tracer.errors import UserError
from tracer.terminal import console


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--output", type=Path, default=world.PLACE, help="where the world goes")
    folder = options.parse_args().output
    try:
        make(folder)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{folder}: SHA-256 {fingerprint(folder)}")
    return 0


def make(folder: Path) -> None:
    """Write the world whole or not at all; the fetched packages stay in a folder beside it."""
    if folder.exists():
        raise UserError(f"{folder} is there already: remove it to make it anew, or choose another --output")
    packages = packages_of(folder)
    drawings.fetch(packages)
    known = drawings.concepts(packages)
    made = world.World(known, drawings.drawings(packages, known))
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with console.progress("pictures to pretrain on", 100) as advance:
        world.shards(made, partial / "pretraining", lambda done, of: advance(100 * done // of))
    with console.progress("suites and tasks", 1 + len(world.TASKS)) as advance:
        world.knowledge(made, partial / "knowledge")
        for done, name in enumerate(world.TASKS, start=1):
            advance(done)
            world.task(made, name, partial / "tasks" / name)
        advance(1 + len(world.TASKS))
    partial.rename(folder)


def packages_of(folder: Path) -> Path:
    """Where the packages of a world are: beside it, so that a world that is removed need not fetch them again."""
    return folder.with_name(f"{folder.name}-packages")


def fingerprint(folder: Path) -> str:
    """SHA-256 of all files' names and contents."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".png", ".tar")):
        digest.update(str(path.relative_to(folder)).encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
