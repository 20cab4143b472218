"""Draws one product picture: a shape with colour and pattern, in front of a backdrop.

Only Pillow and numpy. A product is painted flat on a square canvas, then placed on the
backdrop with its own position, scale and rotation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from mmx.sample.shapes import SHAPES, Ink, Part

RGB = tuple[int, int, int]

CANVAS = 224  # px, side of the square the product is painted on before it is placed

OUTLINE: RGB = (72, 66, 64)  # drawn around every part

COLOURS: dict[str, RGB] = {
    "red": (200, 38, 44),
    "orange": (238, 126, 30),
    "yellow": (245, 206, 56),
    "green": (58, 148, 68),
    "teal": (28, 150, 152),
    "blue": (44, 86, 190),
    "purple": (124, 64, 166),
    "pink": (240, 138, 176),
    "brown": (124, 80, 46),
    "black": (38, 38, 44),
    "white": (246, 245, 240),
    "grey": (142, 145, 150),
}
PATTERNS = ("plain", "striped", "dotted", "checked", "zigzag", "floral", "two-tone")
BACKDROPS = ("plain", "gradient", "floor", "spot")
MARKS = ("none", "corner", "band", "frame")
INKS: dict[Ink, RGB] = {
    "dark": (58, 52, 50),
    "pale": (250, 248, 242),
    "leaf": (74, 128, 66),
    "wood": (150, 106, 66),
    "glow": (255, 226, 130),
}


@dataclass(frozen=True)
class Look:
    """What can be seen of a product."""

    category: str  # a key of SHAPES
    shape: int  # 0 or 1, which of the category's two shapes
    colour: str  # a key of COLOURS
    pattern: str  # one of PATTERNS
    accent: str  # a key of COLOURS: the pattern's second colour, and the trim


@dataclass(frozen=True)
class Scene:
    """What is around a product: the style in which a brand photographs its products."""

    backdrop: str  # one of BACKDROPS
    tint: RGB
    mark: str  # one of MARKS: a graphic in the picture's margin
    ink: RGB  # the mark's colour


def draw(look: Look, scene: Scene, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A picture of ``size`` (width, height) px, 8-bit RGB.

    ``rng`` draws what differs between two photographs of the same thing: position, scale,
    rotation, proportions, light, the exact shade, the pattern's size and phase.
    """
    product = _painted(look, rng)
    backdrop = _backdrop(scene, size, rng)
    placed = _placed(product, size, rng)
    shadow = placed.getchannel("A").point(lambda a: a * 90 // 255)
    shadow = shadow.filter(ImageFilter.BoxBlur(3))
    backdrop.paste((70, 66, 62), (3, 5), shadow)
    backdrop.paste(placed, (0, 0), placed)
    return backdrop


def _painted(look: Look, rng: np.random.Generator) -> Image.Image:
    """The product alone, RGBA, CANVAS px square."""
    colour, accent = _shade(look.colour, rng), _shade(look.accent, rng)
    texture = _texture(look.pattern, colour, accent, rng)
    canvas = Image.new("RGBA", (CANVAS, CANVAS), (*OUTLINE, 0))
    fills: dict[Ink, Image.Image | RGB] = {**INKS, "body": texture, "accent": accent}
    for part in SHAPES[look.category][look.shape]:
        _paint(canvas, part, fills[part.ink])
    return canvas


def _paint(canvas: Image.Image, part: Part, fill: Image.Image | RGB) -> None:
    """Paint one part with a darker line around it, so that white stays visible on white."""
    mask = Image.new("L", canvas.size, 0)
    _outline(ImageDraw.Draw(mask), part)
    left, top, right, bottom = mask.getbbox() or (0, 0, 1, 1)
    box = (max(0, left - 3), max(0, top - 3), min(CANVAS, right + 3), min(CANVAS, bottom + 3))
    mask = mask.crop(box)
    rim = mask.filter(ImageFilter.BoxBlur(2)).point([0] * 8 + [255] * 248)
    canvas.paste((*OUTLINE, 255), box, rim)
    canvas.paste(fill.crop(box) if isinstance(fill, Image.Image) else fill, box, mask)


def _outline(pen: ImageDraw.ImageDraw, part: Part) -> None:
    points = [CANVAS * p for p in part.points]
    width = max(1, round(CANVAS * part.width))
    if part.form == "polygon":
        pen.polygon(points, fill=255)
    elif part.form == "oval":
        pen.ellipse(points, fill=255)
    elif part.form == "bar":
        pen.rounded_rectangle(points, radius=CANVAS * part.width, fill=255)
    elif part.form == "line":
        pen.line(points, fill=255, width=width)
    elif part.form == "ring":
        pen.ellipse(points, outline=255, width=width)
    else:  # half of an oval; width is the turn in degrees: 0 the upper half, 180 the lower
        pen.pieslice(points, 180 + part.width, 360 + part.width, fill=255)


def _shade(name: str, rng: np.random.Generator) -> RGB:
    """A colour as this one product has it: a little lighter, darker or shifted."""
    wobble = rng.normal(0.0, 9.0) + rng.normal(0.0, 7.0, size=3)
    r, g, b = (np.array(COLOURS[name]) + wobble).clip(0, 255).astype(int).tolist()
    return (r, g, b)


def _texture(pattern: str, colour: RGB, accent: RGB, rng: np.random.Generator) -> Image.Image:
    """The patterned, side-lit cloth that body parts are cut from, RGB."""
    turn = rng.uniform(-0.25, 0.25) + (math.pi / 2 if rng.random() < 0.3 else 0.0)
    x = np.arange(CANVAS, dtype=np.float32)[None, :]  # (1, C)
    y = x.T  # (C, 1)
    u = x * math.cos(turn) + y * math.sin(turn) + float(rng.uniform(0, CANVAS))
    v = y * math.cos(turn) - x * math.sin(turn) + float(rng.uniform(0, CANVAS))
    period = CANVAS * float(rng.uniform(0.12, 0.19))
    second = FIELDS[pattern](u, v, period) if pattern != "two-tone" else y + 0 * x > 0.54 * CANVAS
    cloth = np.array([colour, accent], dtype=np.float32)[second.astype(np.intp)]  # (C, C, 3)
    cloth *= 1.0 + 0.28 * float(rng.uniform(-1, 1)) * (x / CANVAS - 0.5)[:, :, None]
    return Image.fromarray(np.minimum(cloth, 255).astype(np.uint8))


def _striped(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    return np.asarray(v % period < 0.45 * period)


def _dotted(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    across, along, _ = _cell(u, v, period)
    return np.asarray(across**2 + along**2 < (0.3 * period) ** 2)


def _checked(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    return np.asarray((u % period < period / 2) ^ (v % period < period / 2))


def _zigzag(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    wave = np.abs(u % (1.2 * period) - 0.6 * period)
    return np.asarray((v + wave) % period < 0.45 * period)


def _floral(u: np.ndarray, v: np.ndarray, period: float) -> np.ndarray:
    across, along, wide = _cell(u, v, 1.35 * period)
    petal = 0.25 * wide * (1.0 + 0.6 * np.cos(5.0 * np.arctan2(along, across)))
    distance = np.hypot(across, along)
    return np.asarray((distance < petal) & (distance > 0.07 * wide))


def _cell(u: np.ndarray, v: np.ndarray, period: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Offsets from the centre of each grid cell; every other row is moved by half a cell."""
    shifted = u + (v // period % 2) * period / 2
    return shifted % period - period / 2, v % period - period / 2, period


Field = Callable[[np.ndarray, np.ndarray, float], np.ndarray]

# Where the accent colour shows: rotated coordinates (C, C) in px and a period → (C, C) bool.
FIELDS: dict[str, Field] = {
    "plain": lambda u, v, period: np.zeros(u.shape, dtype=bool),
    "striped": _striped,
    "dotted": _dotted,
    "checked": _checked,
    "zigzag": _zigzag,
    "floral": _floral,
}


def _placed(product: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """The product moved, scaled, stretched and rotated onto a picture of ``size``, RGBA."""
    width, height = size
    scale = CANVAS / (min(size) * rng.uniform(0.66, 0.9))  # canvas px per picture px
    stretch = float(np.exp(rng.normal(0.0, 0.06)))
    angle = math.radians(float(np.clip(rng.normal(0.0, 7.0), -20, 20)))
    centre_x = width * (0.5 + rng.uniform(-0.07, 0.07))
    centre_y = height * (0.5 + rng.uniform(-0.07, 0.07))
    # Pillow wants the inverse map: picture pixel → canvas pixel
    a, b = scale * stretch * math.cos(angle), scale * stretch * math.sin(angle)
    d, e = -scale / stretch * math.sin(angle), scale / stretch * math.cos(angle)
    c = CANVAS / 2 - a * centre_x - b * centre_y
    f = CANVAS / 2 - d * centre_x - e * centre_y
    return product.transform(
        size, Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BILINEAR
    )


def _backdrop(scene: Scene, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """The empty picture, RGB, ``size`` px, with a little noise so that nothing is quite flat."""
    width, height = size
    x = np.arange(width, dtype=np.float32)[None, :]  # (1, w)
    y = np.arange(height, dtype=np.float32)[:, None]  # (h, 1)
    light: np.ndarray = np.ones((1, 1), dtype=np.float32)  # (1 or h, 1 or w)
    if scene.backdrop == "gradient":
        light = 0.84 + 0.18 * y / height
    elif scene.backdrop == "floor":
        light = np.where(y > height * rng.uniform(0.66, 0.8), np.float32(0.86), np.float32(1.0))
    elif scene.backdrop == "spot":
        light = 1.03 - 0.3 * np.hypot(x / width - 0.5, y / height - 0.45)
    grain = 2.5 * rng.standard_normal((height, width, 1), dtype=np.float32)
    pixels = np.array(scene.tint, dtype=np.float32) * light[:, :, None] + grain  # (h, w, 3)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    _mark(ImageDraw.Draw(image), scene, size)
    return image


def _mark(pen: ImageDraw.ImageDraw, scene: Scene, size: tuple[int, int]) -> None:
    width, height = size
    thick = min(size) // 16
    if scene.mark == "corner":
        pen.polygon([0, 0, 4 * thick, 0, 0, 4 * thick], fill=scene.ink)
    elif scene.mark == "band":
        pen.rectangle([0, height - thick, width, height], fill=scene.ink)
    elif scene.mark == "frame":
        pen.rectangle([0, 0, width - 1, height - 1], outline=scene.ink, width=thick // 2)
