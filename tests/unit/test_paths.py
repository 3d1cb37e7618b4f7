"""Places to write to are looked at, not tried."""

import os

import pytest

from tracer import paths
from tracer.errors import UserError


def test_home_is_understood(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    assert str(paths.given("~/runs", "--output")) == "/somewhere/runs"


def test_what_can_be_made_is_not_made(tmp_path):
    paths.require_folder(tmp_path / "a" / "b", "output")
    paths.require_file(tmp_path / "a" / "c.html", "--output")
    paths.require_folder(tmp_path, "output")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("refused", [os.W_OK, os.X_OK])
def test_what_lies_in_a_locked_folder_cannot(tmp_path, monkeypatch, refused):
    """Permissions do not hold root back, so the system's answer is replaced."""
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & refused)
    with pytest.raises(UserError, match=f"{tmp_path} cannot be written to: change its permissions"):
        paths.require_folder(tmp_path / "a" / "b", "output")
