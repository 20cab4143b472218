"""How much each modality weighs, for models that mix several in a closed form."""

from __future__ import annotations

from collections.abc import Mapping

from mmx.errors import OptionError, suggestion
from mmx.recommend.features import Features


def modality_weights(text: str, features: Mapping[str, Features]) -> dict[str, float]:
    """``image:0.3,text:0.7`` as shares that sum to 1; empty text weighs all modalities alike.

    A modality that is not named weighs nothing. Raises OptionError on a name that the features
    lack, on what is no number, and where nothing weighs more than 0.
    """
    if not text:
        return dict.fromkeys(features, 1 / len(features))
    weights = {}
    for part in text.split(","):
        name, _, value = (piece.strip() for piece in part.partition(":"))
        if name not in features:
            raise OptionError(f"--set weights={text}: no modality '{name}'"
                              f"{suggestion(name, features)}")  # fmt: skip
        weights[name] = _number(text, value)
    total = sum(weights.values())
    if not total > 0:
        raise OptionError(f"--set weights={text}: some modality must weigh more than 0")
    return {name: value / total for name, value in weights.items() if value}


def _number(text: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise OptionError(f"--set weights={text}: MODALITY:NUMBER is expected, none negative")
    return number
