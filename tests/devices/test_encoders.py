"""Every encoder's passes stay on their device: those of each library that a record names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmx.extract.encoders import ENCODERS
from tests.devices.fake_cuda import FakeCuda
from tests.devices.small_encoders import CASES, MADE, passes


def test_every_library_of_a_record_is_here() -> None:
    assert {record.library for record in ENCODERS.values()} == set(MADE)


@pytest.mark.parametrize(("library", "number"), CASES)
def test_the_passes_stay_on_their_device(library: str, number: int, tmp_path: Path) -> None:
    opened = MADE[library][number](tmp_path)
    expected = passes(opened(device="cpu"))
    with FakeCuda() as gpu:
        encoder = opened(device="cuda")
        assert encoder.hardware.device.type == "cuda"
        gpu.waits.clear()
        found = passes(encoder)
        waits = [line for line in gpu.waits if not line.startswith("a copy to cpu")]
        assert waits == []
        assert len(gpu.waits) == len(found)  # each pass is waited for once, by its result
        passes(encoder.in_precision("bfloat16") or encoder)
        assert gpu.mixed == []
    assert found.keys() == encoder.card.dimensions.keys()
    for modality, vectors in found.items():
        np.testing.assert_allclose(vectors, expected[modality], atol=1e-5, rtol=1e-4)
