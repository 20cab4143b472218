"""Freed memory stays with the process, where there is a glibc."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mmx.recommend import allocation

FAULTS = """
import resource, sys
import torch
from mmx.recommend.allocation import keep_freed_memory

if sys.argv[1] == "keep" and not keep_freed_memory():
    sys.exit(3)
for _ in range(5):
    held = [torch.ones(4 << 20, dtype=torch.uint8) for _ in range(4)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(30):
    held = [torch.ones(4 << 20, dtype=torch.uint8) for _ in range(4)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    """Page faults of steps that free and allocate the same blocks, in a fresh process.

    The process starts with glibc's initial thresholds held fast, which it otherwise adapts.
    """
    start = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    command = [sys.executable, "-c", FAULTS, mode]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **start}
    )
    if done.returncode == 3:
        pytest.skip("no glibc here")
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_blocks_are_reused_without_page_faults() -> None:
    kept, given_back = faults("keep"), faults("default")
    assert kept < given_back / 5


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert allocation.keep_freed_memory() is False
