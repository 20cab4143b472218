"""The grid of datasets, features, recommenders and seeds, and what comes of it."""

from mmx.reproduce.grid import Grid
from mmx.reproduce.outcome import GridProgress
from mmx.reproduce.plan import Plan, load_plan
from mmx.reproduce.report import Report, report

__all__ = ["Grid", "GridProgress", "Plan", "Report", "load_plan", "report"]
