import sys

import pytest

from tests.theorems.announced import announce_toys


@pytest.fixture
def toy_ledger(tmp_path, monkeypatch):
    """A folder on the path of this process and of those that it starts, with a ledger of toys."""
    folder = tmp_path / "path"
    folder.mkdir()
    announce_toys(folder)
    monkeypatch.syspath_prepend(folder)
    yield folder / "toy_ledger"
    sys.modules.pop("toy_ledger", None)
