"""Controls: the same features without what they say of an item, to see what a gain comes from.

A model with real features may beat one without for other reasons than contents: it has more
parameters, another regularisation, or one lucky split. Under a control it keeps all of these.

    shuffle     the vectors change places among the items, so that they describe other ones
    noise       Gaussian vectors with the mean, the covariance and the norms of the real ones
    constant    the mean of the vectors for every item that has one
    drop:SHARE  that share of the items that have vectors has none

Which items have a vector stays as it is but for ``drop``. All is drawn from the run's seed and is
of the ids alone: the order of a table's rows does not change it, as items are in that of a hash.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mmx.bounds import check, number
from mmx.errors import OptionError, one_of
from mmx.mapped import gather, in_blocks, release
from mmx.recommend.features import Features
from mmx.recommend.noise import gaussian

ARMS = ("shuffle", "noise", "constant", "drop")
NEAR = 1e-4  # of a vector's norm, that rounding may change
Vectors = Mapping[str, Features]  # by modality


@dataclass(frozen=True)
class Control:
    """What is done to the features of a run."""

    arm: str  # of ARMS
    share: float | None = None  # of drop

    @classmethod
    def parse(cls, text: str, option: str = "--control") -> Control:
        """``shuffle``, ``noise``, ``constant`` or ``drop:0.3``; ``option`` is how it was given.

        Raises OptionError for anything else.
        """
        arm, colon, share = text.partition(":")
        one_of(option, arm, ARMS)
        if arm != "drop":
            if colon:
                raise OptionError(f"{option} {text}: {arm} takes no share; drop ':{share}'")
            return cls(arm)
        try:
            found = float(share)
        except ValueError:
            raise OptionError(f"{option} {text}: a share is expected, as drop:0.3") from None
        check(f"{option} drop:", found, number(0, 1, above=True, below=True))
        return cls(arm, found)

    def __str__(self) -> str:
        """As ``parse`` takes it."""
        return self.arm if self.share is None else f"{self.arm}:{self.share}"

    @property
    def name(self) -> str:
        """The same as part of a file's name."""
        return str(self).replace(":", "-")

    @property
    def drawn(self) -> bool:
        """Whether the seed changes anything."""
        return self.arm != "constant"

    def described(self, seed: int) -> dict[str, Any]:
        """What a run's config says of it."""
        return {"arm": str(self), **({"seed": seed} if self.drawn else {})}


def controlled(features: Vectors, control: Control, seed: int) -> dict[str, Features]:
    """The features under a control; those given stay as they are.

    ``shuffle`` and ``drop`` treat an item's modalities as one, ``noise`` and ``constant`` each by
    itself. Raises OptionError when ``drop`` leaves a modality without any vector.
    """
    if control.arm == "shuffle":
        return _shuffled(features, _rng(seed, "shuffle"))
    if control.share is not None:
        return _dropped(features, control.share, _rng(seed, "drop"))
    if control.arm == "constant":
        return {name: _constant(found) for name, found in features.items()}
    return {
        name: replace(found, matrix=gaussian(found, _rng(seed, f"noise {name}")))
        for name, found in features.items()
    }


def changed(before: Vectors, after: Vectors) -> int:
    """How many items have another vector than before (but for rounding), or none any more."""
    differ = np.zeros(_items(before), bool)
    for name, old in before.items():
        new = after[name]
        differ |= old.present != new.present
        for rows in in_blocks(old.matrix):
            was = old.matrix[rows].astype(np.float64)
            off = np.linalg.norm(new.matrix[rows] - was, axis=1)
            differ[rows] |= off > NEAR * np.linalg.norm(was, axis=1)
            release(new.matrix)
    return int(differ.sum())


def having(features: Vectors) -> np.ndarray:
    """(items,) bool: which have a vector of some modality."""
    return np.any([found.present for found in features.values()], axis=0)


def _shuffled(features: Vectors, rng: np.random.Generator) -> dict[str, Features]:
    """Items that have the same modalities exchange all of their vectors.

    So an item's image and text stay together, a modality has the vectors it had, and who has one
    does not change. Each group is one cycle: no item keeps its own, unless it is alone.
    """
    source = np.arange(_items(features))
    groups = np.zeros(len(source), np.int64)
    for place, name in enumerate(sorted(features)):
        groups |= features[name].present.astype(np.int64) << place
    for group in np.unique(groups[groups > 0]):
        order = rng.permutation(np.flatnonzero(groups == group))
        source[order] = np.roll(order, 1)
    return {name: _taken_from(found, source) for name, found in features.items()}


def _taken_from(found: Features, source: np.ndarray) -> Features:
    """Each item with the vector of item ``source[i]``, which has one where it has one."""
    matrix = found.space.zeros(*found.matrix.shape)
    for rows in in_blocks(matrix):
        matrix[rows] = gather(found.matrix, source[rows])
    return replace(found, matrix=matrix)


def _constant(found: Features) -> Features:
    matrix, mean = found.space.zeros(*found.matrix.shape), found.mean
    for rows in in_blocks(matrix):
        matrix[rows][found.present[rows]] = mean
    return replace(found, matrix=matrix)


def _dropped(features: Vectors, share: float, rng: np.random.Generator) -> dict[str, Features]:
    """A larger share of the same seed masks the same items and further ones."""
    order = rng.permutation(np.flatnonzero(having(features)))
    keep = np.ones(_items(features), bool)
    keep[order[: round(share * len(order))]] = False
    found = {name: _masked(each, keep) for name, each in features.items()}
    for name, each in found.items():
        if not each.present.any():
            raise OptionError(f"--control drop:{share} leaves no item with a vector of {name}; "
                              "lower the share")  # fmt: skip
    return found


def _masked(found: Features, keep: np.ndarray) -> Features:
    matrix = found.space.zeros(*found.matrix.shape)
    for rows in in_blocks(matrix):
        kept = keep[rows]
        matrix[rows][kept] = found.matrix[rows][kept]
        release(found.matrix)
    return replace(found, matrix=matrix, present=found.present & keep)


def _items(features: Vectors) -> int:
    return len(next(iter(features.values())).present)


def _rng(seed: int, what: str) -> np.random.Generator:
    """A stream of its own for each use of one seed, whatever else is drawn."""
    return np.random.default_rng([seed, zlib.crc32(what.encode())])
