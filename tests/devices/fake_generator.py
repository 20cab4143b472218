"""Generators of a CUDA device that is not there; see fake_cuda."""

from __future__ import annotations

import torch

CPU = torch.device("cpu")
TorchGenerator = torch.Generator
_places: dict[int, tuple[torch.Generator, torch.device]] = {}  # by their address


class FakeGenerator(TorchGenerator):
    """A generator of the CPU that says that it is of another device."""

    def __new__(cls, device: torch.device | str = "cpu") -> FakeGenerator:
        made = super().__new__(cls, "cpu")
        _places[made._cdata] = made, torch.device(device)  # operations get another Python object
        return made

    device = property(lambda self: _places[self._cdata][1])


def place_of(generator: torch.Generator) -> str:
    """The kind of device that it is said to be of."""
    return _places.get(generator._cdata, (generator, CPU))[1].type
