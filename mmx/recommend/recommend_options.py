"""What a list of recommendations may hold, and what is said of its items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

from mmx.bounds import Bounds, check, whole
from mmx.data.csvs.format import PLAIN, CsvFormat
from mmx.data.vocabulary import id_array
from mmx.errors import OptionError, one_of
from mmx.files import Place
from mmx.kinds import must_be
from mmx.recommend.fallback import FALLBACKS
from mmx.recommend.features import FeatureSpec
from mmx.recommend.job import FeatureSources, as_specs

SHARE = Bounds(0, 1)


@dataclass(frozen=True)
class RecommendOptions:
    """Which items may be shown, and how a list is made of them."""

    k: int = 20  # items a user, at most: all where there are fewer
    exclude: Sequence[str] = ()  # item ids never shown
    only: Sequence[str] | None = None  # item ids to choose from; None is the whole catalogue
    seen: str = "all"  # hide what a user took in "all" splits, in "train" only, or hide "none"
    where: str | None = None  # SQL condition over the columns of the items table
    catalogue: Place | str | None = None  # items table of what is on sale now; others are hidden
    fallback: str = "none"  # "popular": fill lists that are short with what most users took
    diversity: float = 0.0  # δ of MMR, 0 to 1; see ``mmx.recommend.diversity``
    per: tuple[str, int] | None = None  # ("category", 3): at most 3 items of each category
    explain: bool = False  # say which of the user's items each one is closest to
    stores: FeatureSources = ()  # vectors of diversity and explain; (): those of the run
    csv: CsvFormat = PLAIN  # how a CSV ``catalogue`` is written

    def __post_init__(self) -> None:
        check("--k ", self.k, Bounds(1, kind=Integral))
        object.__setattr__(self, "exclude", id_array(self.exclude).to_pylist())
        if self.only is not None:
            object.__setattr__(self, "only", id_array(self.only).to_pylist())
        one_of("--seen", self.seen, ("all", "train", "none"))
        one_of("--fallback", self.fallback, FALLBACKS)
        must_be("where", self.where, str | None)
        must_be("explain", self.explain, bool)
        must_be("csv", self.csv, CsvFormat)
        check("--diversity ", self.diversity, SHARE)
        self._check_per()
        if self.specs and not (self.diversity or self.explain):
            raise OptionError("--store goes with --diversity or --explain; drop it")

    @property
    def specs(self) -> list[FeatureSpec]:
        """``stores`` as records."""
        return as_specs(self.stores)

    def _check_per(self) -> None:
        if self.per is None:
            return
        if not isinstance(self.per, tuple) or len(self.per) != 2:
            raise OptionError(f"--per is {str(self.per)[:40]}; a column and a number are expected, "
                              "such as category=3")  # fmt: skip
        must_be("--per: the column", self.per[0], str)
        check("--per ", self.per[1], whole(1))
