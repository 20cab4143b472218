"""The outlines of the sample's products: twelve categories in two shapes each.

Coordinates are fractions of a square canvas, x to the right and y down. A part is painted
over the parts before it; its ink says with what.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Ink = Literal["body", "accent", "dark", "pale", "leaf", "wood", "glow"]
Form = Literal["polygon", "oval", "bar", "line", "ring", "dome"]


class Part(NamedTuple):
    """One painted form. "body" ink carries the product's colour and pattern."""

    ink: Ink
    form: Form
    points: tuple[float, ...]  # x, y, x, y, …: corners, or the two corners of a box
    width: float = 0.0  # of a line or ring, fraction of the canvas; corner radius of a bar


MUG = (
    Part("body", "ring", (0.55, 0.34, 0.86, 0.68), 0.06),
    Part("body", "bar", (0.26, 0.2, 0.68, 0.82), 0.05),
    Part("accent", "oval", (0.26, 0.15, 0.68, 0.26)),
    Part("dark", "oval", (0.3, 0.17, 0.64, 0.245)),
)
CUP = (
    Part("pale", "oval", (0.1, 0.68, 0.8, 0.84)),
    Part("body", "ring", (0.58, 0.4, 0.88, 0.62), 0.05),
    Part("body", "polygon", (0.14, 0.34, 0.76, 0.34, 0.6, 0.76, 0.3, 0.76)),
    Part("accent", "oval", (0.14, 0.29, 0.76, 0.39)),
    Part("dark", "oval", (0.18, 0.31, 0.72, 0.375)),
)
T_SHIRT_OUTLINE = (
    0.36, 0.16, 0.64, 0.16, 0.93, 0.34, 0.84, 0.5, 0.72, 0.43, 0.72, 0.86,
    0.28, 0.86, 0.28, 0.43, 0.16, 0.5, 0.07, 0.34,
)  # fmt: skip
T_SHIRT = (
    Part("body", "polygon", T_SHIRT_OUTLINE),
    Part("accent", "dome", (0.38, 0.04, 0.62, 0.28), 180),
)
PULLOVER = (
    Part("body", "polygon", (0.34, 0.2, 0.2, 0.24, 0.08, 0.84, 0.19, 0.87, 0.31, 0.46)),
    Part("body", "polygon", (0.66, 0.2, 0.8, 0.24, 0.92, 0.84, 0.81, 0.87, 0.69, 0.46)),
    Part("body", "polygon", (0.34, 0.2, 0.66, 0.2, 0.72, 0.84, 0.28, 0.84)),
    Part("accent", "bar", (0.38, 0.12, 0.62, 0.24), 0.03),
    Part("accent", "bar", (0.28, 0.8, 0.72, 0.88), 0.02),
)
TABLE_LAMP = (
    Part("dark", "bar", (0.475, 0.45, 0.525, 0.84), 0.01),
    Part("wood", "oval", (0.32, 0.8, 0.68, 0.92)),
    Part("body", "polygon", (0.36, 0.1, 0.64, 0.1, 0.84, 0.54, 0.16, 0.54)),
    Part("accent", "line", (0.16, 0.54, 0.84, 0.54), 0.03),
)
PENDANT_LAMP = (
    Part("dark", "line", (0.5, 0.0, 0.5, 0.34), 0.02),
    Part("glow", "oval", (0.42, 0.56, 0.58, 0.74)),
    Part("body", "dome", (0.12, 0.28, 0.88, 1.0), 0),
    Part("accent", "bar", (0.44, 0.2, 0.56, 0.31), 0.02),
)
SNEAKER = (
    Part(
        "body",
        "polygon",
        (0.08, 0.36, 0.36, 0.3, 0.54, 0.5, 0.84, 0.58, 0.94, 0.7, 0.92, 0.76, 0.07, 0.76),
    ),
    Part("pale", "bar", (0.05, 0.72, 0.95, 0.82), 0.04),
    Part("accent", "line", (0.4, 0.46, 0.52, 0.38), 0.025),
    Part("accent", "line", (0.47, 0.54, 0.59, 0.45), 0.025),
    Part("accent", "line", (0.55, 0.59, 0.66, 0.5), 0.025),
)
BOOT = (
    Part(
        "body",
        "polygon",
        (0.26, 0.1, 0.58, 0.1, 0.58, 0.5, 0.84, 0.6, 0.9, 0.8, 0.26, 0.8),
    ),
    Part("accent", "bar", (0.23, 0.08, 0.61, 0.18), 0.02),
    Part("dark", "bar", (0.24, 0.78, 0.92, 0.86), 0.02),
    Part("dark", "bar", (0.24, 0.82, 0.42, 0.92), 0.01),
)
TOTE = (
    Part("accent", "ring", (0.32, 0.1, 0.68, 0.64), 0.035),
    Part("body", "polygon", (0.16, 0.36, 0.84, 0.36, 0.92, 0.88, 0.08, 0.88)),
    Part("accent", "line", (0.155, 0.38, 0.845, 0.38), 0.035),
)
BACKPACK = (
    Part("dark", "ring", (0.4, 0.06, 0.6, 0.28), 0.03),
    Part("accent", "bar", (0.12, 0.4, 0.26, 0.82), 0.05),
    Part("accent", "bar", (0.74, 0.4, 0.88, 0.82), 0.05),
    Part("body", "bar", (0.2, 0.15, 0.8, 0.9), 0.16),
    Part("accent", "bar", (0.3, 0.58, 0.7, 0.82), 0.05),
    Part("dark", "line", (0.3, 0.66, 0.7, 0.66), 0.015),
)
ARMCHAIR = (
    Part("wood", "bar", (0.2, 0.74, 0.26, 0.94), 0.01),
    Part("wood", "bar", (0.74, 0.74, 0.8, 0.94), 0.01),
    Part("body", "bar", (0.22, 0.1, 0.78, 0.7), 0.12),
    Part("body", "bar", (0.1, 0.42, 0.26, 0.8), 0.06),
    Part("body", "bar", (0.74, 0.42, 0.9, 0.8), 0.06),
    Part("accent", "bar", (0.25, 0.54, 0.75, 0.66), 0.04),
    Part("body", "bar", (0.24, 0.64, 0.76, 0.82), 0.03),
)
STOOL = (
    Part("wood", "line", (0.3, 0.36, 0.18, 0.94), 0.04),
    Part("wood", "line", (0.7, 0.36, 0.82, 0.94), 0.04),
    Part("wood", "line", (0.5, 0.4, 0.5, 0.92), 0.04),
    Part("dark", "line", (0.24, 0.7, 0.76, 0.7), 0.025),
    Part("accent", "bar", (0.14, 0.32, 0.86, 0.46), 0.06),
    Part("body", "oval", (0.12, 0.14, 0.88, 0.42)),
)
HANDS = (
    Part("dark", "line", (0.5, 0.5, 0.5, 0.36), 0.025),
    Part("dark", "line", (0.5, 0.5, 0.59, 0.55), 0.025),
)
WALL_CLOCK = (
    Part("body", "oval", (0.08, 0.08, 0.92, 0.92)),
    Part("accent", "oval", (0.27, 0.27, 0.73, 0.73)),
    Part("pale", "oval", (0.3, 0.3, 0.7, 0.7)),
    *HANDS,
)
ALARM_CLOCK = (
    Part("accent", "oval", (0.14, 0.08, 0.44, 0.32)),
    Part("accent", "oval", (0.56, 0.08, 0.86, 0.32)),
    Part("dark", "line", (0.28, 0.78, 0.18, 0.94), 0.04),
    Part("dark", "line", (0.72, 0.78, 0.82, 0.94), 0.04),
    Part("body", "oval", (0.14, 0.16, 0.86, 0.86)),
    Part("pale", "oval", (0.31, 0.31, 0.69, 0.69)),
    *HANDS,
)
FLASK = (
    Part("accent", "bar", (0.4, 0.04, 0.6, 0.2), 0.03),
    Part("body", "polygon", (0.42, 0.18, 0.58, 0.18, 0.7, 0.34, 0.7, 0.5, 0.3, 0.5, 0.3, 0.34)),
    Part("body", "bar", (0.3, 0.34, 0.7, 0.96), 0.05),
)
CARAFE = (
    Part("accent", "oval", (0.4, 0.06, 0.6, 0.18)),
    Part("body", "bar", (0.43, 0.12, 0.57, 0.52), 0.02),
    Part("body", "oval", (0.16, 0.38, 0.84, 0.94)),
    Part("accent", "line", (0.42, 0.4, 0.58, 0.4), 0.03),
)
BOOK = (
    Part("pale", "polygon", (0.24, 0.88, 0.84, 0.88, 0.88, 0.14, 0.82, 0.1)),
    Part("body", "bar", (0.2, 0.08, 0.82, 0.86), 0.02),
    Part("dark", "bar", (0.2, 0.08, 0.28, 0.86), 0.01),
    Part("accent", "bar", (0.38, 0.2, 0.74, 0.34), 0.01),
)
NOTEBOOK = (
    Part("body", "bar", (0.22, 0.08, 0.84, 0.92), 0.06),
    Part("accent", "bar", (0.7, 0.08, 0.75, 0.92), 0.0),
    *(Part("dark", "bar", (0.14, y, 0.3, y + 0.035), 0.015) for y in (0.15, 0.3, 0.45, 0.6, 0.75)),
)
LEAFY_PLANT = (
    Part("leaf", "polygon", (0.5, 0.56, 0.12, 0.36, 0.08, 0.12, 0.36, 0.28)),
    Part("leaf", "polygon", (0.5, 0.56, 0.88, 0.36, 0.92, 0.12, 0.64, 0.28)),
    Part("leaf", "polygon", (0.5, 0.58, 0.38, 0.24, 0.5, 0.02, 0.62, 0.24)),
    Part("body", "polygon", (0.22, 0.54, 0.78, 0.54, 0.68, 0.94, 0.32, 0.94)),
    Part("accent", "bar", (0.19, 0.49, 0.81, 0.58), 0.02),
)
CACTUS = (
    Part("leaf", "bar", (0.41, 0.04, 0.59, 0.6), 0.09),
    Part("leaf", "bar", (0.2, 0.2, 0.31, 0.44), 0.05),
    Part("leaf", "bar", (0.2, 0.36, 0.5, 0.46), 0.05),
    Part("leaf", "bar", (0.69, 0.14, 0.8, 0.38), 0.05),
    Part("leaf", "bar", (0.5, 0.3, 0.8, 0.4), 0.05),
    Part("body", "bar", (0.22, 0.54, 0.78, 0.94), 0.1),
    Part("accent", "line", (0.24, 0.58, 0.76, 0.58), 0.03),
)
CAP = (
    Part("accent", "oval", (0.5, 0.54, 0.98, 0.72)),
    Part("body", "dome", (0.12, 0.18, 0.74, 1.1), 0),
    Part("accent", "oval", (0.39, 0.15, 0.47, 0.22)),
    Part("dark", "line", (0.13, 0.64, 0.73, 0.64), 0.015),
)
SUN_HAT = (
    Part("body", "oval", (0.03, 0.5, 0.97, 0.84)),
    Part("body", "dome", (0.24, 0.16, 0.76, 1.1), 0),
    Part("accent", "bar", (0.24, 0.52, 0.76, 0.64), 0.02),
)
OPEN_UMBRELLA = (
    Part("dark", "line", (0.5, 0.05, 0.5, 0.86), 0.025),
    Part("dark", "ring", (0.5, 0.78, 0.64, 0.94), 0.025),
    Part("body", "dome", (0.04, 0.12, 0.96, 1.0), 0),
    *(Part("accent", "dome", (x, 0.51, x + 0.2, 0.61), 0) for x in (0.1, 0.4, 0.7)),
)
FOLDED_UMBRELLA = (
    Part("dark", "line", (0.5, 0.02, 0.5, 0.8), 0.03),
    Part("dark", "ring", (0.5, 0.76, 0.7, 0.96), 0.03),
    Part("body", "polygon", (0.47, 0.06, 0.53, 0.06, 0.69, 0.64, 0.31, 0.64)),
    Part("body", "bar", (0.31, 0.58, 0.69, 0.7), 0.03),
    Part("accent", "bar", (0.34, 0.46, 0.66, 0.53), 0.02),
)

SHAPES: dict[str, tuple[tuple[Part, ...], tuple[Part, ...]]] = {
    "mug": (MUG, CUP),
    "shirt": (T_SHIRT, PULLOVER),
    "lamp": (TABLE_LAMP, PENDANT_LAMP),
    "shoe": (SNEAKER, BOOT),
    "bag": (TOTE, BACKPACK),
    "chair": (ARMCHAIR, STOOL),
    "clock": (WALL_CLOCK, ALARM_CLOCK),
    "bottle": (FLASK, CARAFE),
    "book": (BOOK, NOTEBOOK),
    "plant": (LEAFY_PLANT, CACTUS),
    "hat": (CAP, SUN_HAT),
    "umbrella": (OPEN_UMBRELLA, FOLDED_UMBRELLA),
}
