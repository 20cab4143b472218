"""Every test finds the GPUs anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import mmx.devices
from mmx.search import on_device


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """What was found of the GPUs, and what was said, is forgotten before and after."""
    known = mmx.devices._gpu_works, on_device._say_once
    for kept in known:
        kept.cache_clear()
    yield
    for kept in known:
        kept.cache_clear()
