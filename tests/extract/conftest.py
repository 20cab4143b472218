"""Tiny networks run fastest on one thread, above all when the machine is busy."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator

import pytest

from tests.extract.descendants import MARK, limited, wait_until_gone


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    torch = sys.modules.get("torch")  # imported by the test module, or not needed at all
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> str:
    """A mark in the environment that all descendants of this test carry."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv(MARK, mark)
    return mark


@pytest.fixture
def none_left(marked: str) -> Iterator[None]:
    """The test ends soon, and with it all that it has started."""
    limited(120)
    yield
    limited(0)
    wait_until_gone(marked)
