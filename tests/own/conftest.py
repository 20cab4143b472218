"""A folder with a small dataset, and the files of docs/own.md beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmx.sample.catalogue import write_sample
from tests.cli.conftest import Shop
from tests.own.pages import write_files


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 items, 20 users."""
    directory = tmp_path_factory.mktemp("own") / "data"
    write_sample(directory, items=24, users=20, seed=3)
    return directory


@pytest.fixture
def own(tmp_path: Path, sample: Path) -> Shop:
    """A working directory in which ``mmx`` runs."""
    (tmp_path / "data").symlink_to(sample)
    write_files(tmp_path)
    return Shop(tmp_path)
