"""Filters and splits: which interactions count, and which are held out; one file a rule family.

All functions work on the interactions table of ``load_interactions`` and are pure. What they
decide depends on ids, times and the seed, never on the order of the rows.
"""

from mmx.data.splits.filters import LeftOut, first_of_each_pair, k_core
from mmx.data.splits.leak import leak_line, leaked_share
from mmx.data.splits.rule import SplitRule
from mmx.data.splits.split import split_interactions

__all__ = [
    "LeftOut",
    "SplitRule",
    "first_of_each_pair",
    "k_core",
    "leak_line",
    "leaked_share",
    "split_interactions",
]
