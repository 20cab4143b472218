"""A shop with a store and two runs, made once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.serve.world import Served, served, train, write_shop, write_store


@dataclass(frozen=True)
class Shop:
    """Where everything is."""

    data: Path
    store: Path
    runs: tuple[Path, Path]


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A run that scores by items, and one of popular items."""
    folder = tmp_path_factory.mktemp("served")
    data = write_shop(folder / "data")
    store = write_store(data, folder / "cache/toy.parquet")
    return Shop(data, store, (train(data, "ease-content", folder / "runs/first", store),
                              train(data, "popularity", folder / "runs/second")))  # fmt: skip


@pytest.fixture(scope="session")
def api(shop: Shop) -> Served:
    """Both runs and the store."""
    return served(*shop.runs)
