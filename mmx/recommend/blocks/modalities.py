"""Settings that differ from one modality to the next: what each weighs, how many neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mmx.bounds import MOST
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
    _refuse_unknown(weights, features, f"--set weights={text}")
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


def modality_neighbours(text: str, k: int, features: Mapping[str, Features]) -> dict[str, int]:
    """k of each modality's item graph: ``image:40,text:15``, and ``k`` where none is given.

    Raises OptionError as ``parse_neighbours`` and on a name that the features lack.
    """
    own = parse_neighbours(text)
    _refuse_unknown(own, features, f"--set neighbours_of={text}")
    return {name: own.get(name, k) for name in features}


def parse_neighbours(text: str) -> dict[str, int]:
    """``image:40,text:15`` as written; empty for empty text.

    Raises OptionError on a modality that is named twice and on what is not a whole number from 1.
    """
    found: dict[str, int] = {}
    for part in text.split(",") if text else ():
        name, _, value = (piece.strip() for piece in part.partition(":"))
        if name in found:
            raise OptionError(f"--set neighbours_of={text}: '{name}' is given twice; drop one")
        if not (value.isascii() and value.isdigit() and 1 <= int(value) <= MOST):
            raise OptionError(f"--set neighbours_of={text}: MODALITY:NUMBER is expected, from 1")
        found[name] = int(value)
    return found


def _refuse_unknown(names: Iterable[str], features: Mapping[str, Features], option: str) -> None:
    for name in names:
        if name not in features:
            raise OptionError(f"{option}: no modality '{name}'{suggestion(name, features)}")
