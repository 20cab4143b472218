"""How much each modality weighs, for models that mix several in a closed form."""

from __future__ import annotations

from collections.abc import Mapping

from mmx.errors import OptionError, suggestion
from mmx.recommend.features import Features


def modality_weights(text: str, features: Mapping[str, Features]) -> dict[str, float]:
    """``image:0.3,text:0.7`` as shares that sum to 1; empty text weighs all modalities the same.

    A modality that is not named weighs nothing. Raises OptionError on a name that the features
    lack, on a weight that is not a number, and where nothing weighs more than 0.
    """
    weights = parse_weights(text)
    if not weights:
        return dict.fromkeys(features, 1 / len(features))
    for name in weights:
        if name not in features:
            raise OptionError(f"--set weights={text}: no modality '{name}'"
                              f"{suggestion(name, features)}")  # fmt: skip
    total = sum(weights.values())
    return {name: value / total for name, value in weights.items() if value}


def parse_weights(text: str) -> dict[str, float]:
    """``image:0.3,text:0.7`` as written; empty for empty text.

    Raises OptionError on a modality that is named twice, on a weight that is not a number, and
    where nothing weighs more than 0 or all together are too much for a float.
    """
    weights: dict[str, float] = {}
    for part in text.split(",") if text else ():
        name, _, value = (piece.strip() for piece in part.partition(":"))
        if name in weights:
            raise OptionError(f"--set weights={text}: '{name}' is given twice; drop one")
        weights[name] = _number(text, value)
    if text and not 0 < sum(weights.values()) < float("inf"):
        raise OptionError(f"--set weights={text}: some modality must weigh more than 0")
    return weights


def _number(text: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise OptionError(f"--set weights={text}: MODALITY:NUMBER is expected, none negative")
    return number
