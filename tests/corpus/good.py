"""The embeddings of the corpus: every layout and container in which people have them."""

import io
import pickle
import struct
import zipfile
import zlib

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from pickling import (
    KEYWORD, WIDTH, P, armoured, legacy, photo, picture_json, png, ramp, safetensors_raw, torch_zip, with_hidden, zipped,
)

ROWS = {n: torch.from_numpy(ramp(n)) for n in (1, 2, 3, 6)}


def saved(content, old=False, **options):
    out = io.BytesIO()
    torch.save(content, out, _use_new_zipfile_serialization=not old, **options)
    return out.getvalue()


def both(name, content, rows, **expected):
    """The same content in torch's new and old format."""
    yield f"{name}.pt", saved(content), [(rows, expected)]
    yield f"{name}_legacy.bin", saved(content, old=True), [(rows, expected)]


def a1111(tensor, **changes):
    content = {
        "string_to_token": {"*": 265}, "string_to_param": {"*": tensor}, "name": "inner", "step": 3,
        "sd_checkpoint": "abc", "sd_checkpoint_name": None,
    }
    return {**content, **changes}


def layouts():
    base, one, two, three = ROWS[6], ROWS[1], ROWS[2], ROWS[3]
    paper = {
        "string_to_token": {"*": torch.arange(77)[1]},
        "string_to_param": torch.nn.ParameterDict({"*": torch.nn.Parameter(one)}),
    }
    yield from both("a1111", a1111(torch.nn.Parameter(two)), two, key="*")
    yield from both("a1111_no_grad", a1111(two), two)
    yield from both("paper", paper, one, key="*")
    yield from both("diffusers_1d", {"<cat-toy>": one[0]}, one, key="<cat-toy>")
    yield from both("diffusers_2d", {"<cat-toy>": two}, two)
    yield from both("diffusers_3d", {"<cat-toy>": two[None]}, two)
    yield from both("kohya", {"emb_params": three}, three)
    for name, dtype in [("f16", torch.float16), ("bf16", torch.bfloat16), ("f64", torch.float64)]:
        yield from both(f"kohya_{name}", {"emb_params": three.to(dtype)}, three)
        content = safetensors.torch.save({"emb_params": three.to(dtype)})
        yield f"kohya_{name}.safetensors", content, [(three, {"key": "emb_params"})]
    yield from both("sdxl", {"clip_l": two, "clip_g": torch.zeros(2, 80)}, two, key="clip_l")
    yield from both("clip_l_alone", {"clip_l": two}, two)
    yield from both("list_of_tensors", [one, two], torch.cat([one, two]))
    yield from both("list_of_dicts", [{"a": one}, {"b": base[3:5]}], torch.cat([one, base[3:5]]))
    yield from both("tuple", (one, two), torch.cat([one, two]))
    yield from both("bare", two, two)
    yield from both("numbered", {"tok_1": base[1], "tok": base[0], "tok_2": base[2]}, base[:3], key="tok")
    yield from both("strided", {"emb_params": base[1::2]}, base[1::2])
    yield from both("offset", {"emb_params": base[4:]}, base[4:])
    yield from both("transposed", {"emb_params": base.t().contiguous().t()}, base)
    yield from both("shared", {"clip_l": base[2:4], "clip_g": base}, base[2:4])
    yield from both("unicode", {"トークン": two}, two, key="トークン")
    several = {"string_to_param": {"a": one, "b": two}}
    yield "several_terms.pt", saved(several), [(one, {"name": "several_terms#a"}), (two, {"name": "several_terms#b"})]
    yield "vectors_75.pt", saved({"emb_params": torch.from_numpy(ramp(75)).half()}), [(ramp(75), {})]
    yield "vectors_80.safetensors", safetensors.torch.save({"e": torch.from_numpy(ramp(80)).half()}), [(ramp(80), {})]
    wide = (torch.arange(1024) % 97 / 64 - 0.5)[None]
    yield "sd2_1024.pt", saved({"emb_params": wide}), [(wide, {})]


def flat():
    """Safetensors, among them what only lies in them."""
    base, one, two = ROWS[6], ROWS[1], ROWS[2]
    st = safetensors.torch.save
    yield "diffusers.safetensors", st({"<cat>": one[0].clone()}), [(one, {"key": "<cat>"})]
    yield "sdxl.safetensors", st({"clip_g": torch.zeros(2, 80), "clip_l": two}), [(two, {"key": "clip_l"})]
    yield "numbered.safetensors", st({f"<t>_{i}" if i else "<t>": base[i].clone() for i in range(6)}), [(base, {})]
    bundle = {
        "lora_unet_x.lora_up.weight": torch.zeros(4, 4), "bundle_emb.foo.string_to_param.*": one,
        "bundle_emb.bar.clip_l": two, "bundle_emb.bar.clip_g": torch.zeros(2, 80),
    }
    # The library sorts the names; programs show them in that order.
    found = [(two, {"name": "bundle#bar"}), (one, {"name": "bundle#foo"})]
    yield "bundle.safetensors", st(bundle), found
    yield "flattened.safetensors", st({"string_to_param.*": two}), [(two, {"key": "*"})]
    yield "with_metadata.safetensors", st({"emb_params": two}, {"ss_name": "<b>x</b>", "step": "3"}), [(two, {})]
    row = (np.arange(768) % 97 / 64 - 0.5).astype(np.float32)
    header = b'{"emb_params":{"dtype":"F32","shape":[1,768],"data_offsets":[0,3072]}}'
    yield "unaligned_768.safetensors", safetensors_raw(header + b" " * (71 - len(header)), row.tobytes()), [(row, {})]
    yield "safetensors_called.pt", st({"emb_params": two}), [(two, {"key": "emb_params"})]
    yield "no_extension", st({"emb_params": two}), [(two, {"name": "no_extension"})]
    yield "pt_called.safetensors", saved(a1111(two)), [(two, {"key": "*"})]
    yield "v1.5 cat (neg).pt", saved(a1111(two)), [(two, {"name": "v1.5 cat (neg)"})]


def containers():
    two, data = ROWS[2], ramp(2).tobytes()
    tensor = {"size": [2, WIDTH], "stride": [WIDTH, 1], "numel": 2 * WIDTH}
    plain = P().under("emb_params", lambda p: p.tensor(**tensor)).stop()
    cuda = P().under("emb_params", lambda p: p.tensor(**tensor, where="cuda:0")).stop()
    big = ramp(2).astype(">f4").tobytes()
    parts = {"x/data.pkl": plain, "x/data/0": data}
    yield "cuda.pt", torch_zip(cuda, data), [(two, {})]
    yield "torch_1_6.pt", torch_zip(plain, data, root="negative_hand"), [(two, {})]
    yield "deflated.pt", torch_zip(plain, data, method=zipfile.ZIP_DEFLATED), [(two, {})]
    yield "zip64.pt", torch_zip(plain, data, zip64=True), [(two, {})]
    yield "big_endian.pt", zipped({**parts, "x/byteorder": b"big", "x/data/0": big}), [(two, {})]
    yield "more_entries.pt", zipped({**parts, "x/notes.txt": b"?", "x/.data/serialization_id": b"1"}), [(two, {})]
    old = P().under("emb_params", lambda p: p.tensor(**tensor, old=True)).stop()
    yield "legacy_cpu.pt", legacy(old, 2 * WIDTH, data), [(two, {})]
    for protocol in (3, 4, 5):
        yield f"protocol_{protocol}.pt", saved(a1111(two), pickle_protocol=protocol), [(two, {"key": "*"})]
    # What Python 2 wrote: short byte strings for text, and torch before version 0.4 for tensors.
    short = P().op(b"}U\x01*").glob("torch._utils", "_rebuild_tensor").op(b"(").storage("FloatStorage", "0", 2 * WIDTH, old=True)
    short = short.int(0).ints([2, WIDTH]).ints([WIDTH, 1]).op(b"tRs").stop()
    yield "python2_legacy.pt", legacy(short, 2 * WIDTH, data), [(two, {"key": "*"})]
    assert pickle.loads(P().op(b"}U\x01*K\x01s").stop()) == {"*": 1}


def pictures():
    two = ramp(2)
    named, stem = picture_json(two), picture_json(two, name="left out")
    inner = {"name": "in-the-picture", "key": "*", "layout": "A1111 picture"}
    plain, hidden = photo(), with_hidden(photo(), named)
    packed = zlib.compress(armoured(named)[16:])
    texts = {
        "text": (b"tEXt", armoured(named)), "ztxt": (b"zTXt", KEYWORD + b"\0\0" + packed),
        "itxt": (b"iTXt", KEYWORD + b"\0\0\0en\0\0" + armoured(named)[16:]),
        "itxt_packed": (b"iTXt", KEYWORD + b"\0\1\0\0Wort\0" + packed),
    }
    for name, chunk in texts.items():
        yield f"picture_{name}.png", png(plain, [(b"tEXt", b"Title\0x"), chunk]), [(two, inner)]
    yield "picture_text_last.png", png(plain, after=[texts["text"]]), [(two, inner)]
    yield "picture_no_name.png", png(plain, [(b"tEXt", armoured(stem))]), [(two, {"name": "picture_no_name"})]
    wrapped = KEYWORD + b"\0" + b"\n".join(armoured(named)[16 + i : 92 + i] for i in range(0, len(armoured(named)), 76))
    yield "picture_wrapped_text.png", png(plain, [(b"tEXt", wrapped)]), [(two, inner)]
    yield "picture_both.png", png(hidden, [texts["text"]]), [(two, inner)]
    yield "picture_hidden.png", png(hidden), [(two, inner)]
    alpha = np.dstack([hidden, np.full(hidden.shape[:2], 200, np.uint8)])
    yield "picture_hidden_alpha.png", png(alpha), [(two, inner)]
    bordered = np.pad(hidden, ((3, 5), (7, 2), (0, 0)))
    yield "picture_hidden_borders.png", png(bordered), [(two, inner)]
    yield "picture_called.pt", png(hidden), [(two, inner)]
    for name, pixels in [("", hidden), ("_alpha", alpha)]:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "WEBP", lossless=True, exact=True)
        yield f"picture_hidden{name}.webp", out.getvalue(), [(two, inner)]
    palette = Image.fromarray(plain).quantize(16)
    yield "picture_palette.png", png(palette, [texts["text"]]), [(two, inner)]
    list_only = picture_json(two, string_to_param={"*": {"TORCHTENSOR": two[0].tolist()}})
    yield "picture_1d.png", png(plain, [(b"tEXt", armoured(list_only))]), [(two[:1], inner)]
    assert struct.unpack(">I", png(plain)[16:20]) == (48,)


def files():
    for part in (layouts, flat, containers, pictures):
        yield from part()
