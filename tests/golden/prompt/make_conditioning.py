#!/usr/bin/env python3
"""What the UNet sees of a prompt, by ComfyUI's formula and by A1111's, from hidden states of Hugging Face's CLIPTextModel.

    python tests/golden/prompt/make_conditioning.py     # writes conditioning.safetensors beside itself

Made with torch 2.15.0, transformers 5.24.0, safetensors 0.8.0, on one thread; seeded. The text encoder is that of
`tests/golden/models/two_levels.safetensors` (width 128, two layers). What is in the file: `README.md`. The formulas are those of
`embeddings.md` §2.7, §2.8 and §3.5, written here from their description; no code of either program was used.
"""

import pathlib

import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

torch.set_num_threads(1)
HERE = pathlib.Path(__file__).resolve().parent
MODEL = HERE.parent / "models" / "two_levels.safetensors"
PREFIX = "cond_stage_model.transformer.text_model."
WIDTH, LAYERS, WINDOW = 128, 2, 77

BEGIN, END = 0, 1  # rows of the table; END is the padding too
WORDS = range(2, 26)  # rows as words have them
VECTORS = range(26, 34)  # the rows of an embedding, ten times as long


def text_encoder():
    tensors = {name.removeprefix(PREFIX): value.float() for name, value in load_file(MODEL).items() if name.startswith(PREFIX)}
    model = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=tensors["embeddings.token_embedding.weight"].shape[0],
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=WIDTH // 64,
            hidden_act="quick_gelu",
            attn_implementation="eager",
            bos_token_id=0,  # rows are fed, ids never
            eos_token_id=0,
        )
    ).eval()
    names = {name: name.removeprefix("text_model.") for name in model.state_dict()}
    model.load_state_dict({name: tensors[short] for name, short in names.items() if "position_ids" not in name}, strict=True)
    return model


def rows_table():
    generator = torch.Generator().manual_seed(77)
    table = torch.randn(34, WIDTH, generator=generator) * 0.5
    table[VECTORS.start :] *= 10
    return table


class Rows(torch.nn.Module):
    """Stands where the token table was: whatever ids are asked for, these rows come back."""

    def __init__(self, rows):
        super().__init__()
        self.rows = rows

    def forward(self, ids):
        return self.rows


@torch.no_grad()
def hidden(model, rows, skip):
    """Rows (windows, 77, width) → (windows, 77, width): each window by itself, `skip` 1 is the last layer; then the final norm."""
    embeddings = next(module for module in model.modules() if hasattr(module, "token_embedding"))
    norm = next(module for name, module in model.named_modules() if name.endswith("final_layer_norm"))
    embeddings.token_embedding = Rows(rows)
    out = model(input_ids=torch.zeros(rows.shape[:2], dtype=torch.long), output_hidden_states=True)
    states = norm(out.hidden_states[-skip])
    if skip == 1:
        assert torch.equal(states, out.last_hidden_state)
    return states


def comfy(z, empty, weights):
    """Away from the empty prompt, token by token; nothing is rescaled."""
    z, empty, w = z.double(), empty.double(), weights.double()[..., None]
    mixed = empty + w * (z - empty)
    return torch.where(w == 1, z, mixed).float()


def a1111(z, weights):
    """Token times weight, then each window scaled back to its mean, unless that is no number or of nothing."""
    out = []
    for window, w in zip(z.double(), weights.double()):
        weighted = window * w[:, None]
        before, after = window.mean(), weighted.mean()
        scale = before / after
        out.append(weighted * scale if after != 0 and torch.isfinite(scale) else weighted)
    return torch.stack(out).float()


def window(*words, weights=None):
    """(rows of the table, weights) of a window with these words, begin and end around them, padding behind."""
    words = list(words)
    index = [BEGIN, *words] + [END] * (WINDOW - 1 - len(words))
    w = torch.ones(WINDOW)
    if weights is not None:
        w[1 : 1 + len(words)] = torch.tensor(weights, dtype=torch.float32)
    return torch.tensor(index, dtype=torch.int32), w


def sentence(length, start=0):
    return [WORDS[(start + 5 * i) % len(WORDS)] for i in range(length)]


def prompts():
    """{name: (windows, clip skip, systems)}"""
    some = [1.3 if 2 <= i < 6 else 1.0 for i in range(9)]
    odd = [0.0, 0.5, -1.0, 0.9, 1.1, 2.0, -0.25, 10.0]
    third = [1.0] * 30 + [1.21] * 10 + [1 / 1.1] * 10 + [1.0] * 25
    guard = window(*sentence(5))
    guard = (guard[0], torch.zeros(WINDOW))
    both = ("comfy", "a1111")
    return {
        "empty": ([window()], 1, ("comfy",)),
        "plain": ([window(*sentence(9))], 1, ("comfy",)),
        "weighted": ([window(*sentence(9), weights=some)], 1, both),
        "odd_weights": ([window(*sentence(8, 3), weights=odd)], 1, both),
        "embedding": ([window(*sentence(3), *VECTORS, *sentence(2, 7), weights=[1.0] * 3 + [1.2] * 8 + [1.0] * 2)], 1, both),
        "skip2": ([window(*sentence(9), weights=some)], 2, both),
        # Weights only in the second window: the mean is restored in each by itself, so the first stays as it is.
        "long": ([window(*sentence(75)), window(*sentence(10, 2), weights=[1.0] * 4 + [1.5] * 3 + [1.0] * 3)], 1, both),
        "three_windows": ([window(*sentence(75, 1), weights=third), window(*sentence(75, 4)), window(*sentence(1))], 1, ("comfy",)),
        # BREAK: two short windows.
        "break": ([window(*sentence(4), weights=[1.4] * 4), window(*sentence(3, 9), weights=[0.6, 1.0, 1.0])], 1, ("a1111",)),
        # No prompt can say this (begin and end have weight 1), but a mean of zero must not make NaN.
        "nothing_left": ([guard], 1, ("a1111",)),
    }


def main():
    model, table = text_encoder(), rows_table()
    out = {"table": table}
    for name, (windows, skip, systems) in prompts().items():
        index, weights = (torch.stack(part) for part in zip(*windows))
        z = hidden(model, table[index.long()], skip)
        empty = hidden(model, table[window()[0].long()][None], skip)
        out |= {f"{name}.index": index, f"{name}.weights": weights, f"{name}.skip": torch.tensor([skip], dtype=torch.int32)}
        results = {"comfy": comfy(z, empty, weights), "a1111": a1111(z, weights)}
        if (weights == 1).all():
            assert torch.equal(results["comfy"], z) and torch.allclose(results["a1111"], z, atol=1e-6)
        for system in systems:
            assert torch.isfinite(results[system]).all(), name
            out[f"{name}.{system}"] = results[system].reshape(1, -1, WIDTH)
        means = [float(w.double().mean() / (w.double() * m.double()[:, None]).mean()) for w, m in zip(z, weights)]
        apart = (results["comfy"] - results["a1111"]).norm() / z.norm()
        print(f"{name}: {len(windows)} windows, std {z.std():.3f}, moved {(results[systems[-1]] - z).norm() / z.norm():.3f}, systems {apart:.3f} apart, means {means}, mean {float(z.mean()):.3f}")
    save_file({name: value.contiguous() for name, value in out.items()}, HERE / "conditioning.safetensors")


if __name__ == "__main__":
    main()
