"""The packages that drawings and names come from, fetched through npm by name and version, and checked by hash."""

import base64
import hashlib
import json
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracer.errors import UserError

_LONGEST = 200  # characters of npm's own words


@dataclass(frozen=True)
class Package:
    """One package in one version.

    Attributes:
        name, version: as npm knows it.
        sha512: of its archive, in base64, as npm's integrity field has it.
    """

    name: str
    version: str
    sha512: str

    def file(self, folder: Path) -> Path:
        """Where its archive is, or will be."""
        return folder / f"{self.name.lstrip('@').replace('/', '-')}-{self.version}.tgz"

    def fetch(self, folder: Path) -> Path:
        """Its archive in a folder, by npm if it is not there yet.

        Raises:
            UserError: if npm is missing or cannot get it, or the archive is not the one that was meant.
        """
        path = self.file(folder)
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _npm("pack", "--silent", "--pack-destination", str(folder), f"{self.name}@{self.version}")
        found = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
        if found != self.sha512:
            raise UserError(f"{path} has the SHA-512 {found} instead of {self.sha512}: remove it, and fetch it again")
        return path

    def read(self, folder: Path, member: str) -> Any:
        """The values of a JSON file in its archive, which has been fetched."""
        with tarfile.open(self.file(folder)) as archive:
            file = archive.extractfile(f"package/{member}")
            assert file
            return json.load(file)


def _npm(*arguments: str) -> None:
    try:
        done = subprocess.run(["npm", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UserError("npm, which fetches the drawings, is not installed: install Node.js, or put npm on the PATH") from None
    if done.returncode:
        words = " ".join(done.stderr.split())[:_LONGEST]
        raise UserError(f"npm cannot get {arguments[-1]} ({words}): check the network and npm's registry, then start again")
