"""The modules of a model that belong to a modality, by the modality's name."""

from __future__ import annotations

from torch import nn

TAKEN = frozenset(dir(nn.ModuleDict())) | frozenset(dir(nn.ParameterDict()))


def module_key(modality: str) -> str:
    """The modality's key in a ModuleDict or ParameterDict: its name, where torch takes it.

    torch takes no full stops, and none of its own attributes: ``keys``, ``type``, ``half`` …
    Two modalities never get one key.
    """
    plain = modality.replace("%", "%25").replace(".", "%2E")
    return f"%{plain}" if plain in TAKEN else plain
