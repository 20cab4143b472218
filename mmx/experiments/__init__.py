"""The grid of datasets, features, recommenders and seeds, and its results."""

from mmx.experiments.grid import Grid
from mmx.experiments.outcome import GridProgress
from mmx.experiments.plan import Plan, load_plan
from mmx.experiments.report import Report, report

__all__ = ["Grid", "GridProgress", "Plan", "Report", "load_plan", "report"]
