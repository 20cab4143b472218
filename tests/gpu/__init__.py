"""What runs on a real GPU, where there is one: ``make gpu``. Other tests need none."""

from __future__ import annotations

import pytest
import torch

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
