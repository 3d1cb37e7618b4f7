"""How the tests are collected: the same names in every process, those files first that take longest."""

from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def conftest(request):
    return request.config.pluginmanager.get_plugin(str(ROOT / "tests" / "conftest.py"))


def collected(*names):
    return [SimpleNamespace(nodeid=f"{name}::test_it") for name in names]


def test_names_with_addresses_are_refused(conftest):
    """What else differs between processes, the order of a set say, ends every run in several processes."""
    address = str(lambda: None)
    with pytest.raises(pytest.UsageError, match=f"give their parameters ids\ntests/test_a.py.{address}.::test_it"):
        conftest.pytest_collection_modifyitems(collected("tests/test_b.py", f"tests/test_a.py[{address}]"))
    conftest.pytest_collection_modifyitems(collected("tests/test_a.py[0x1F-31]"))


def test_the_longest_come_first(conftest):
    longest = conftest.LONGEST_FIRST
    assert [name for name in longest if not (ROOT / name).is_file()] == []
    items = collected("tests/test_a.py", longest[1], "tests/test_b.py", longest[0])
    conftest.pytest_collection_modifyitems(items)
    assert items == collected(longest[0], longest[1], "tests/test_a.py", "tests/test_b.py")
