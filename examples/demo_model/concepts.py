"""What the example embeddings mean, and the pictures they are learned from."""

from dataclasses import dataclass

import numpy as np

from pictures import POSITIONS, SIZES, BACKGROUNDS, Scene, any_scene, place


@dataclass(frozen=True)
class Concept:
    """An embedding to be learned: its name, file format, number of vectors, and the words it starts from."""

    name: str
    format: str  # "pt" (A1111), "bin" (diffusers), "safetensors" (kohya), "png" (A1111, within a picture)
    vectors: int
    start: str
    fixed: dict  # what is the same in all of its pictures
    rate: float = 5e-3


CONCEPTS = (
    Concept("teal-star", "pt", 3, "blue striped star", dict(colour="teal", style="striped", shape="star")),
    Concept("magenta-heart", "bin", 3, "pink dotted heart", dict(colour="magenta", style="dotted", shape="heart")),
    Concept("lime-diamond", "safetensors", 4, "green outlined diamond", dict(colour="lime", style="outlined", shape="diamond")),
    Concept("teal", "png", 1, "blue", dict(colour="teal")),
)
# A slow rate, as diffusers' example has it: words for what went wrong are in the captions, and at ten times the rate the vectors leave them.
FAILURES = Concept("failures", "safetensors", 3, "faded broken shape", dict(failure=True), rate=5e-4)


def scene(concept, rng):
    """One picture of a concept; what it does not fix is as anywhere in the training set."""
    if "failure" in concept.fixed:
        return any_scene(rng, failures=1)
    free = any_scene(rng, failures=0)
    made = Scene(
        shape=concept.fixed.get("shape", free.shape),
        colour=concept.fixed["colour"],
        style=concept.fixed.get("style", free.style),
        background=str(rng.choice(list(BACKGROUNDS))),
        count=int(rng.choice([1, 2], p=[0.8, 0.2])),
        size=str(rng.choice(list(SIZES))),
        position=str(rng.choice(list(POSITIONS), p=[0.5, 0.125, 0.125, 0.125, 0.125])),
    )
    return place(made, rng)


def scenes(concept, count, seed):
    rng = np.random.default_rng([6, seed])
    return [scene(concept, rng) for _ in range(count)]
