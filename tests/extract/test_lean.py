"""Imports without what is not used, and nothing of that left over afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from mmx.extract.encoders.bare import WithoutDrawing
from mmx.extract.later import Later, sign_of_life

pytestmark = pytest.mark.slow

START = """
import sys
from mmx.packages import own_this_process
from mmx.extract.encoders import open_encoder
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", START + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_command_line_takes_neither_towers_nor_the_compiler() -> None:
    code = """
own_this_process()
open_encoder("clip:mini", device="cpu")
print([name for name in ("timm", "torch._dynamo") if name in sys.modules])
import open_clip, torchvision, timm, torch._dynamo.utils as real
from torchvision.ops import roi_align
assert real.__file__
assert sys.modules["torchvision.ops.roi_align"].is_compile_supported("cpu") in (True, False)
assert open_clip.timm_model.timm is None
assert open_clip.hf_model.transformers is None
from mmx.extract.lean import open_clip_for
with open_clip_for(None):
    import open_clip
assert open_clip.timm_model.timm is timm
open_clip.model.TimmModel("resnet18", 8, image_size=32)
assert open_clip.hf_model.transformers is sys.modules["transformers"]
"""
    assert run(code) == "[]"


def test_more_of_the_compiler_is_imported_where_it_is_used() -> None:
    """As another version of torchvision might."""
    code = """
own_this_process()
from mmx.extract.lean import torchvision
import torch
with torchvision():
    from torch._dynamo.utils import counters
    import torch._dynamo
import torchvision
print(torch._dynamo.utils.counters is counters, torch._dynamo.utils.__file__ is not None)
"""
    assert run(code) == "True True"


def test_a_program_of_someone_else_imports_as_usual() -> None:
    code = """
open_encoder("clip:mini", device="cpu")
import open_clip
print(open_clip.timm_model.timm.__name__, open_clip.hf_model.transformers.__name__)
"""
    assert run(code) == "timm transformers"


def test_nothing_is_drawn_and_the_generator_stays() -> None:
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    with WithoutDrawing():
        layer = torch.nn.Linear(4, 4)
        torch.nn.init.trunc_normal_(layer.weight)
        torch.nn.MultiheadAttention(4, 2)
        assert torch.zeros(3).normal_().tolist() == [0, 0, 0]
        assert torch.nn.LayerNorm(2).weight.tolist() == [1, 1]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.zeros(3).normal_().abs().sum() > 0


def test_later_returns_and_raises() -> None:
    assert Later(lambda: 3).result() == 3
    with pytest.raises(ZeroDivisionError):
        Later(lambda: 1 // 0).result()


def test_a_long_wait_shows_a_sign_of_life() -> None:
    said: list[str] = []
    with sign_of_life(said.append, "never", after=1000):
        pass
    done = Later(lambda: None)
    with sign_of_life(said.append, "opening", after=0):
        done.result()
        while not said:
            pass
    assert said == ["opening"]
