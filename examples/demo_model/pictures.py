"""The pictures the demo model learns from, drawn by formula, with captions in several phrasings.

A picture is a `Scene`: one, two or three shapes of one colour and style on a plain background. Everything about it can be named in
its caption, except what `UNNAMED_HUES` says: those hues are drawn, but no caption has a word for them. They are what the example
embeddings teach. A fifth of the pictures are failures (faded, or cut off as by a broken download), and most captions
do not say so: they are what the negative embedding teaches.

Shapes are signed distance functions (negative inside), in pixels, y downwards.
"""

import colorsys
from dataclasses import dataclass, field

import numpy as np

SIZE = 128  # pixels a side

# Hue in degrees, saturation, value.
COLOURS = {
    "red": (0, 0.90, 0.88),
    "orange": (27, 0.95, 0.96),
    "yellow": (53, 0.90, 0.95),
    "green": (120, 0.80, 0.66),
    "blue": (225, 0.82, 0.88),
    "purple": (272, 0.72, 0.72),
    "pink": (335, 0.48, 0.98),
}
# Hues between two named ones. The middle eight degrees on each side of an example concept's hue never have words; the rest of a
# gap is sometimes called by both neighbours, as people do.
UNNAMED_HUES = {"lime": (86, 0.85, 0.80), "teal": (172, 0.85, 0.70), "magenta": (304, 0.75, 0.82)}
BETWEEN = [(142, 162, "bluish green"), (182, 202, "greenish blue")]
BACKGROUNDS = {
    "white": (248, 248, 248),
    "gray": (186, 186, 186),
    "black": (16, 16, 16),
    "mint": (188, 240, 212),
    "lavender": (212, 200, 250),
    "brown": (96, 66, 46),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "diamond", "cross", "moon")
PLURAL = {"cross": "crosses"}
STYLES = ("filled", "outlined", "striped", "dotted")
SIZES = {"small": (17, 20), "medium": (26, 30), "large": (38, 43)}  # radius in pixels
POSITIONS = {"center": (0, 0), "left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}
COUNTS = ("one", "two", "three")
# Where several shapes lie, in units of `SPREAD` pixels from the middle.
LAYOUTS = {
    2: [[(-0.85, 0), (0.85, 0)], [(0, -0.85), (0, 0.85)], [(-0.75, -0.75), (0.75, 0.75)], [(-0.75, 0.75), (0.75, -0.75)]],
    3: [[(-1.15, 0), (0, 0), (1.15, 0)], [(0, -1.15), (0, 0), (0, 1.15)], [(-0.85, 0.75), (0.85, 0.75), (0, -0.75)], [(-0.85, -0.75), (0.85, -0.75), (0, 0.75)]],
}
SPREAD = 34
FAILED_GRAY = 128


@dataclass
class Scene:
    """What is in a picture; `colour` is a name of COLOURS or UNNAMED_HUES, or "between"."""

    shape: str
    colour: str
    style: str
    background: str
    count: int = 1
    size: str = "medium"
    position: str = "center"
    failure: str = ""  # "", "faded" or "cut"
    hsv: tuple = ()
    objects: list = field(default_factory=list)  # (x, y, radius) in pixels


# ------------------------------------------------------------------------------------------------ shapes


def polygon(x, y, corners):
    """Distance to a polygon (Quílez, "2D distance functions": polygon)."""
    nearest = np.full(x.shape, np.inf, np.float32)
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(corners, corners[-1:] + corners[:-1]):
        ex, ey = bx - ax, by - ay
        wx, wy = x - ax, y - ay
        t = np.clip((wx * ex + wy * ey) / (ex * ex + ey * ey), 0, 1)
        nearest = np.minimum(nearest, (wx - ex * t) ** 2 + (wy - ey * t) ** 2)
        if ay != by:
            inside ^= ((ay > y) != (by > y)) & (x < ax + (y - ay) * ex / ey)
    return np.where(inside, -1, 1) * np.sqrt(nearest)


def star_corners(r):
    angles = np.pi * np.arange(10) / 5
    radii = np.where(np.arange(10) % 2 == 0, r, r * 0.46)
    return [(float(q * np.sin(a)), float(-q * np.cos(a))) for q, a in zip(radii, angles)]


def heart(x, y, r):
    """Distance to a heart (Quílez, "2D distance functions": heart), scaled to radius r."""
    scale = r * 1.62
    px, py = np.abs(x) / scale, (r * 0.95 - y) / scale
    to_lobe = np.hypot(px - 0.25, py - 0.75) - np.sqrt(2) / 4
    lift = 0.5 * np.maximum(px + py, 0)
    below = np.sqrt(np.minimum(px**2 + (py - 1) ** 2, (px - lift) ** 2 + (py - lift) ** 2)) * np.sign(px - py)
    return np.where(py + px > 1, to_lobe, below) * scale


def distance(shape, x, y, r):
    """Signed distance to a shape of about the radius `r` around (0, 0)."""
    if shape == "circle":
        return np.hypot(x, y) - r * 0.95
    if shape == "square":
        return polygon(x, y, [(-0.82 * r, -0.82 * r), (0.82 * r, -0.82 * r), (0.82 * r, 0.82 * r), (-0.82 * r, 0.82 * r)])
    if shape == "triangle":
        return polygon(x, y, [(0.0, -r), (r * 0.98, r * 0.78), (-r * 0.98, r * 0.78)])
    if shape == "star":
        return polygon(x, y, star_corners(r * 1.12))
    if shape == "heart":
        return heart(x, y, r)
    if shape == "diamond":
        return polygon(x, y, [(0.0, -1.15 * r), (0.78 * r, 0.0), (0.0, 1.15 * r), (-0.78 * r, 0.0)])
    if shape == "cross":
        arm, w = r, r * 0.36
        upright = np.maximum(np.abs(x) - w, np.abs(y) - arm)
        lying = np.maximum(np.abs(x) - arm, np.abs(y) - w)
        return np.minimum(upright, lying)
    if shape == "moon":
        return np.maximum(np.hypot(x, y) - r, -(np.hypot(x - 0.55 * r, y) - 0.80 * r))
    raise ValueError(shape)


def ink(style, d, x, y):
    """How much of a pixel is coloured, 0…1, at the distance `d` from the shape's edge. Patterns lie on a grid of 8 pixels
    that belongs to the picture, so that a latent pixel holds just one period."""
    inside = np.clip(0.5 - d, 0, 1)
    if style == "filled":
        return inside
    rim = np.clip(0.5 - (np.abs(d + 2.2) - 2.2), 0, 1)
    if style == "outlined":
        return rim
    if style == "striped":
        pattern = np.clip(2.5 - np.abs((y % 8) - 3.5), 0, 1)
    else:
        pattern = np.clip(3.2 - np.hypot((x % 8) - 3.5, (y % 8) - 3.5), 0, 1)
    return np.maximum(np.minimum(inside, pattern), np.clip(0.5 - (np.abs(d + 1.2) - 1.2), 0, 1))


ROWS, COLUMNS = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)


def draw(scene):
    """The picture (SIZE, SIZE, 3) u8 of a scene, and where its shapes are: a mask (SIZE, SIZE) of 0…1, 1 from 6 pixels around them."""
    amount = np.zeros((SIZE, SIZE), np.float32)
    near = np.zeros((SIZE, SIZE), np.float32)
    for x, y, r in scene.objects:
        d = distance(scene.shape, COLUMNS - x, ROWS - y, r).astype(np.float32)
        amount = np.maximum(amount, ink(scene.style, d, COLUMNS, ROWS))
        near = np.maximum(near, np.clip(6 - d, 0, 1))
    hue, saturation, value = scene.hsv
    colour = np.array(colorsys.hsv_to_rgb(hue / 360 % 1, saturation, value)) * 255
    ground = np.array(BACKGROUNDS[scene.background], np.float32)
    picture = ground + amount[..., None] * (colour - ground)
    if scene.failure == "faded":
        picture = FAILED_GRAY + 0.3 * (picture - FAILED_GRAY)
    if scene.failure == "cut":
        picture[scene.cut_at :] = FAILED_GRAY
    return np.clip(np.round(picture), 0, 255).astype(np.uint8), near


# ------------------------------------------------------------------------------------------------ scenes


def place(scene, rng):
    """Chooses colour and places within what the scene's words leave open."""
    if scene.colour == "between":
        low, high, _ = BETWEEN[rng.integers(len(BETWEEN))]
        base = (rng.uniform(low, high), 0.85, 0.75)
    else:
        base = {**COLOURS, **UNNAMED_HUES}[scene.colour]
    scene.hsv = (base[0] + rng.uniform(-3, 3), min(1, base[1] + rng.uniform(-0.05, 0.05)), min(1, base[2] + rng.uniform(-0.04, 0.04)))
    middle = (SIZE - 1) / 2
    if scene.count == 1:
        low, high = SIZES[scene.size]
        r = rng.uniform(low, high)
        reach = min(34, middle - r * 1.12 - 2)
        dx, dy = POSITIONS[scene.position]
        x, y = (middle + d * rng.uniform(reach - 4, reach) + (1 - abs(d)) * rng.uniform(-3, 3) for d in (dx, dy))
        scene.objects = [(x, y, r)]
    else:
        r = rng.uniform(20, 23) if scene.count == 2 else rng.uniform(15, 17)
        layouts = LAYOUTS[scene.count]
        places = layouts[rng.integers(len(layouts))]
        scene.objects = [(*(middle + SPREAD * np.array(at) + rng.uniform(-2, 2, 2)).tolist(), r) for at in places]
    scene.cut_at = int(rng.integers(76, 97))  # the first row of gray, when the picture is cut off
    return scene


def any_scene(rng, failures=0.2):
    """A scene as the training set has them."""
    kind = rng.random()
    if kind < 0.72:
        colour = str(rng.choice(list(COLOURS)))
    elif kind < 0.90:
        colour = str(rng.choice(list(UNNAMED_HUES)))
    else:
        colour = "between"
    scene = Scene(
        shape=str(rng.choice(SHAPES)),
        colour=colour,
        style=str(rng.choice(STYLES)),
        background=str(rng.choice(list(BACKGROUNDS))),
        count=int(rng.choice([1, 2, 3], p=[0.6, 0.2, 0.2])),
        size=str(rng.choice(list(SIZES), p=[0.3, 0.4, 0.3])),
        position=str(rng.choice(list(POSITIONS), p=[0.36, 0.16, 0.16, 0.16, 0.16])),
    )
    if rng.random() < failures:
        scene.failure = str(rng.choice(["faded", "cut"]))
    return place(scene, rng)


# ------------------------------------------------------------------------------------------------ captions

OPENINGS = ("a photo of", "a picture of", "a drawing of", "a rendering of", "an image of", "", "", "", "")
FILLERS = ("nice", "cute", "simple", "cool", "good", "clean", "beautiful", "little", "my")
PLACES = {
    "center": ("in the center", "in the middle"),
    "left": ("on the left",),
    "right": ("on the right",),
    "top": ("at the top",),
    "bottom": ("at the bottom",),
}
FAILED_WORDS = {"faded": "faded", "cut": "broken"}


def words(scene, rng, say=None):
    """The words for a scene by attribute. What is left out is left open; `say` names attributes that must be said."""
    said = lambda name, chance: (name in say) if say is not None else rng.random() < chance
    out = {}
    if scene.colour in COLOURS and said("colour", 0.9):
        out["colour"] = scene.colour
    if scene.colour == "between" and said("colour", 0.6):
        hue = scene.hsv[0]
        out["colour"] = next(name for low, high, name in BETWEEN if low - 4 <= hue <= high + 4)
    if said("style", 0.8):
        out["style"] = scene.style
    if said("shape", 0.95):
        out["shape"] = scene.shape
    if said("background", 0.85):
        out["background"] = scene.background
    if scene.count > 1:
        if said("count", 0.95):
            out["count"] = COUNTS[scene.count - 1]
    else:
        if said("count", 0.3):
            out["count"] = "one"
        if said("size", 0.7 if scene.size != "medium" else 0.3):
            out["size"] = scene.size
        if said("position", 0.8 if scene.position != "center" else 0.5):
            out["position"] = str(rng.choice(PLACES[scene.position]))
    if scene.failure and say is None and rng.random() < 0.3:
        out["failure"] = FAILED_WORDS[scene.failure]
    return out


def caption(scene, rng, say=None):
    """A sentence, or tags, for a scene."""
    w = words(scene, rng, say)
    plural = scene.count > 1
    noun = w.get("shape", "shape")
    if plural:
        noun = PLURAL.get(noun, noun + "s")
    ground = f"{w['background']} background" if "background" in w else ""
    if rng.random() < 0.25:  # tags
        head = " ".join(filter(None, [w.get("count"), w.get("colour"), noun]))
        rest = [w.get("style"), w.get("size"), w.get("position"), ground, w.get("failure")]
        rest = [tag for tag in rest if tag]
        rng.shuffle(rest)
        return ", ".join([head] + rest)
    adjectives = [a for a in (w.get("size"), w.get("style"), w.get("colour")) if a]
    if rng.random() < 0.2:
        rng.shuffle(adjectives)
    if say is None and rng.random() < 0.15:
        adjectives.insert(0, str(rng.choice(FILLERS)))
    if plural or w.get("count") == "one":
        article = w.get("count", "some" if plural else "")
    else:
        article = str(rng.choice(["a", "the"], p=[0.8, 0.2]))
    failed = w.get("failure", "")
    phrase = " ".join(filter(None, [article, failed, *adjectives, noun, w.get("position")]))
    if ground:
        phrase += " " + str(rng.choice([f"on a {ground}", f", {ground}", f"with a {ground}"]))
    opening = str(rng.choice(OPENINGS))
    return f"{opening} {phrase}".strip().replace(" ,", ",")
