"""CLIP's tokenizer, and the small vocabulary that captions use.

The tokenizer is built from the merges in `src/prompt/clip_merges.txt`; nothing is downloaded. Of its 49 408 rows captions use a
hundred or so. The others stay zero: a word the model has never seen says nothing. `FILLERS` are such words on purpose, so that the
networks meet words that say nothing while they learn.
"""

import json
import pathlib
import tempfile

import numpy as np
import torch
from transformers import CLIPTokenizer

import networks
from pictures import FILLERS, any_scene, caption

MERGES = pathlib.Path(__file__).resolve().parents[2] / "src" / "prompt" / "clip_merges.txt"


def tokenizer():
    """Settings as in SD 1.5's tokenizer folder."""
    merges = [line for line in MERGES.read_text("utf-8").split("\n") if line and not line.startswith("#version")]
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    chars = [chr(b) for b in printable] + [chr(256 + i) for i in range(len(others))]
    vocabulary = chars + [c + "</w>" for c in chars] + [m.replace(" ", "") for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    assert len(set(vocabulary)) == networks.VOCABULARY
    special = lambda text: {"__type": "AddedToken", "content": text, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    config = {
        "add_prefix_space": False, "bos_token": special("<|startoftext|>"), "eos_token": special("<|endoftext|>"),
        "unk_token": special("<|endoftext|>"), "pad_token": "<|endoftext|>", "do_lower_case": True, "errors": "replace",
        "model_max_length": networks.TEXT_TOKENS, "tokenizer_class": "CLIPTokenizer",
    }
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", "utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        return CLIPTokenizer.from_pretrained(folder)


class Vocabulary:
    """The rows in use while training. Row 0 stands for every word without meaning and is kept at zero."""

    def __init__(self):
        self.tokenizer = tokenizer()
        rng = np.random.default_rng(5)
        said = {i for _ in range(20000) for i in self._ids(caption(any_scene(rng), rng))}
        meaningless = {i for word in FILLERS for i in self._ids(word)} - {networks.START, networks.END}
        self.ids = sorted(said - meaningless | {networks.START, networks.END})
        self._row = {i: row for row, i in enumerate(self.ids, 1)}

    def __len__(self):
        return len(self.ids) + 1

    def _ids(self, text):
        return self.tokenizer(text, truncation=True)["input_ids"]

    def rows(self, texts):
        """Texts → rows of the small table (B, 77), filled up with the end token."""
        end = self._row[networks.END]
        out = torch.full((len(texts), networks.TEXT_TOKENS), end)
        for line, text in zip(out, texts):
            ids = [self._row.get(i, 0) for i in self._ids(text)]
            line[: len(ids)] = torch.tensor(ids)
        return out

    def full_table(self, small):
        """The small table (rows, width) → CLIP's (49408, width)."""
        table = torch.zeros(networks.VOCABULARY, small.shape[1])
        table[torch.tensor(self.ids)] = small[1:]
        return table
