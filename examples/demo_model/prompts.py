#!/usr/bin/env python3
"""What the demo model is asked to draw when it is measured: writes prompts.json beside this file. Seeded.

    python examples/demo_model/prompts.py [--seed 8] [--out examples/demo_model/prompts.json]

Another seed gives other prompts with other noise, which nobody has looked at while anything was chosen.

`attributes`: 240 captions in the phrasings of the training set, named colours and no failures, with what each one asks for. A singular
noun asks for one shape. `short`: 240 that say one thing or two, of which more are failures. `concepts`: for each concept 40 prompts with a {} where its embedding is called, and the same sentence
`without` it, where a word that says nothing stands instead.
"""

import argparse
import json
import pathlib

import numpy as np

from pictures import BACKGROUNDS, COLOURS, COUNTS, PLACES, POSITIONS, SIZES, UNNAMED_HUES, any_scene, caption, place

OUT = pathlib.Path(__file__).with_name("prompts.json")
ATTRIBUTES, SHORT, EACH_CONCEPT = 240, 240, 40
# name of the embedding, what it stands for
CONCEPTS = {
    "teal-star": dict(shape="star", colour="teal", style="striped"),
    "magenta-heart": dict(shape="heart", colour="magenta", style="dotted"),
    "lime-diamond": dict(shape="diamond", colour="lime", style="outlined"),
    "teal": dict(colour="teal"),
}
NEGATIVE = "failures"  # name of the embedding of what went wrong


def attributes(rng):
    scene = any_scene(rng, failures=0)
    scene.colour = str(rng.choice(list(COLOURS)))
    place(scene, rng)
    chances = dict(shape=0.97, colour=0.92, style=0.8, background=0.85)
    chances |= dict(count=0.95) if scene.count > 1 else dict(count=0.3, size=0.5, position=0.6)
    say = {name for name, chance in chances.items() if rng.random() < chance}
    asks = {name: getattr(scene, name) for name in chances if name in say}
    if scene.count == 1:
        asks["count"] = 1
    return caption(scene, rng, say), asks


def short(rng):
    """One or two of what is seen first; the rest is the model's to choose."""
    scene = any_scene(rng, failures=0)
    scene.colour = str(rng.choice(list(COLOURS)))
    scene.count = 1
    place(scene, rng)
    say = set(rng.choice(["shape", "colour", "background"], int(rng.integers(1, 3)), replace=False).tolist())
    return caption(scene, rng, say), dict(count=1, **{name: getattr(scene, name) for name in sorted(say)})


def calls(rng):
    """A sentence around a concept."""
    asks = {"count": int(rng.choice([1, 2], p=[0.8, 0.2]))}
    opening = str(rng.choice(["a photo of", "a picture of", "a drawing of", "an image of", ""]))
    words = [opening]
    if asks["count"] > 1:
        words += [COUNTS[asks["count"] - 1], "{}"]
    else:
        words += [str(rng.choice(["a", "the"], p=[0.8, 0.2]))]
        if rng.random() < 0.3:
            asks["size"] = str(rng.choice(list(SIZES)))
            words.append(asks["size"])
        words.append("{}")
        if rng.random() < 0.35:
            asks["position"] = str(rng.choice(list(POSITIONS)))
            words.append(PLACES[asks["position"]][0])
    if rng.random() < 0.7:
        asks["background"] = str(rng.choice(list(BACKGROUNDS)))
        words.append(f"on a {asks['background']} background")
    noun = "shapes" if asks["count"] > 1 else "shape"
    text = " ".join(filter(None, words))
    return dict(prompt=text, without=text.replace("{}", noun)), asks


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--seed", type=int, default=8)
    args.add_argument("--out", type=pathlib.Path, default=OUT)
    args = args.parse_args()
    first = 0 if args.seed == 8 else 100_000 * args.seed  # of the noise
    rng = np.random.default_rng([args.seed, 1])
    drawn = (attributes(rng) for _ in range(ATTRIBUTES))
    asked = [dict(prompt=prompt, seed=first + 1000 + i, asks=asks) for i, (prompt, asks) in enumerate(drawn)]
    few_words = np.random.default_rng([args.seed, 2])
    drawn = (short(few_words) for _ in range(SHORT))
    briefly = [dict(prompt=prompt, seed=first + 6000 + i, asks=asks) for i, (prompt, asks) in enumerate(drawn)]
    concepts = []
    for n, (name, means) in enumerate(CONCEPTS.items(), 2):
        drawn = (calls(rng) for _ in range(EACH_CONCEPT))
        prompts = [dict(**text, seed=first + 1000 * n + i, asks=asks) for i, (text, asks) in enumerate(drawn)]
        concepts.append((dict(name=name, hue=UNNAMED_HUES[means["colour"]][0], means=means), prompts))
    lines = lambda rows: ",\n".join(map(json.dumps, rows))
    sections = [json.dumps(head)[:-1] + ', "prompts": [\n' + lines(prompts) + "\n]}" for head, prompts in concepts]
    args.out.write_text(
        '{\n"negative": ' + json.dumps(f"embedding:{NEGATIVE}")
        + ',\n"attributes": [\n' + lines(asked) + '\n],\n"short": [\n' + lines(briefly) + '\n],\n"concepts": [\n' + ",\n".join(sections) + "\n]\n}\n"
    )


if __name__ == "__main__":
    main()
