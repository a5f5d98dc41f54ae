"""The other files of the corpus: made to do harm, damaged, or simply not embeddings; each with the code it must get."""

import base64
import io
import json
import struct
import zipfile
import zlib

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from pickling import (
    KEYWORD, WIDTH, P, armoured, emb_params, legacy, photo, picture_json, png, ramp, safetensors_raw, torch_zip,
    with_hidden, zipped,
)

MAX = 2**63 - 1
DEFLATED = {"method": zipfile.ZIP_DEFLATED}


def code():
    def call(module, name):
        return P().glob(module, name).text("echo hi").op(b"\x85R").stop()

    named = {
        "reduce_os_system": ("os", "system"), "reduce_posix_system": ("posix", "system"),
        "reduce_builtins_eval": ("builtins", "eval"), "load_from_bytes": ("torch.storage", "_load_from_bytes"),
        "torch_load": ("torch", "load"), "resolve_name": ("pkgutil", "resolve_name"), "runpy": ("runpy", "_run_code"),
        "attribute_path": ("torch._utils", "os.system"), "getattr": ("builtins", "getattr"),
    }
    for name, imported in named.items():
        yield f"{name}.pt", torch_zip(call(*imported)), "UNSAFE_PICKLE"
    yield "stack_global_eval.pt", torch_zip(P().text("builtins").text("eval").op(b"\x93").stop()), "UNSAFE_PICKLE"
    yield "inst.pt", torch_zip(P().op(b"(").text("hi").op(b"ios\nsystem\n").stop()), "UNSAFE_PICKLE"
    yield "bare_code.pkl", call("os", "system"), "UNSAFE_PICKLE"
    yield "legacy_code.pt", legacy(call("os", "system"), WIDTH, ramp(1).tobytes()), "UNSAFE_PICKLE"
    # A sound embedding, then code that would run after it was built.
    sound = emb_params()[:-1] + P(b"").glob("os", "system").text("hi").op(b"\x85R0").stop()
    yield "code_after_an_embedding.pt", torch_zip(sound), "UNSAFE_PICKLE"


def tensors():
    lies = {
        "size_overflow": {"size": [MAX, MAX], "stride": [1, 1]}, "size_negative": {"size": [-1, WIDTH]},
        "stride_negative": {"size": [WIDTH], "stride": [-1], "offset": WIDTH - 1}, "offset_negative": {"offset": -1},
        "stride_zero_expand": {"size": [10**9, WIDTH], "stride": [0, 1]}, "offset_oob": {"offset": 1},
        "repeated_by_overlap": {"size": [60, 60], "stride": [1, 1], "numel": 120},
        "stride_overflow": {"size": [2, 2], "stride": [MAX, MAX]}, "ranks_differ": {"size": [WIDTH], "stride": [1, 1]},
        "too_many_axes": {"size": [1] * 9, "stride": [1] * 9},
        "zero_hides_overflow": {"size": [0, MAX, MAX], "stride": [1, 1, 1]},
    }
    for name, lie in lies.items():
        yield f"{name}.pt", torch_zip(emb_params(**lie)), "BAD_PICKLE"
    yield "numel_gt_file.pt", torch_zip(emb_params(numel=2**40)), "TRUNCATED"
    yield "missing_storage.pt", torch_zip(emb_params(key="7")), "TRUNCATED"
    yield "path_traversal_key.pt", torch_zip(emb_params(key="../../etc/passwd")), "TRUNCATED"
    yield "integers.pt", torch_zip(emb_params(kind="IntStorage")), "WRONG_DTYPE"
    nan = ramp(1)
    nan[0, 5] = np.nan
    yield "nan_values.pt", torch_zip(emb_params(), nan.tobytes()), "NOT_FINITE"
    many = np.zeros((1025, 2), np.float16)
    yield "vectors_1025.safetensors", safetensors.torch.save({"e": torch.from_numpy(many)}), "TOO_LARGE"
    transposed = safetensors.torch.save({"e": torch.zeros(768, 2, dtype=torch.float16)})
    yield "transposed_768.safetensors", transposed, "WRONG_SHAPE"
    yield "four_axes.safetensors", safetensors.torch.save({"e": torch.zeros(2, 1, 2, 2)}), "WRONG_SHAPE"
    yield "no_axes.safetensors", safetensors.torch.save({"e": torch.tensor(1.0)}), "WRONG_SHAPE"
    yield "mixed_widths.pt", torch_zip(
        P().op(b"}").text("t").op(b"").tensor([1, 8], [8, 1]).op(b"s").text("t_1").tensor([1, 9], [9, 1]).op(b"s").stop()
    ), "NOT_AN_EMBEDDING"


def streams():
    bomb = P().text("lol").op(b"q\0")
    for i in range(28):
        bomb.op(bytes([0x68, i, 0x68, i, 0x86, 0x71, i + 1]))
    shared = P().under("e", lambda p: p.tensor([1, WIDTH], [WIDTH, 1])).op(b"q\0")
    for level in range(5):
        shared.op(b"](" + bytes([0x68, level]) * 30 + b"e" + bytes([0x71, level + 1]))
    raw = {
        "deep_nest_1e5": (P().op(b"]" * 100_000 + b"a" * 99_999).stop(), "BAD_PICKLE"),
        "memo_bomb_28": (bomb.stop(), "NOT_AN_EMBEDDING"), "shared_lists": (shared.stop(), "TOO_LARGE"),
        "many_values": (P().op(b"N" * 100_001).stop(), "BAD_PICKLE"),
        "many_ops": (P().op(b"N" + b"20" * 500_001).stop(), "BAD_PICKLE"),
        "binunicode_4g": (P().op(b"X\xff\xff\xff\xff").stop(), "BAD_PICKLE"),
        "binunicode8_max": (P().op(b"\x8d" + b"\xff" * 8).stop(), "BAD_PICKLE"),
        "stack_underflow": (P().op(b"0").stop(), "BAD_PICKLE"), "mark_missing": (P().op(b"}u").stop(), "BAD_PICKLE"),
        "setitems_odd": (P().op(b"}(Nu").stop(), "BAD_PICKLE"), "memo_miss": (P().op(b"h\5").stop(), "BAD_PICKLE"),
        "short_args": (P().glob("torch._utils", "_rebuild_tensor_v2").op(b")R").stop(), "BAD_PICKLE"),
        "protocol_9": (P(b"\x80\x09").op(b"N").stop(), "BAD_PICKLE"), "empty_pickle": (b"", "TRUNCATED"),
        "proto5_frame": (P(b"\x80\x05").op(b"\x95\1\0\0\0\0\0\0\0}").stop(), "NOT_AN_EMBEDDING"),
        "pickle_cut": (emb_params()[:-20], "TRUNCATED"),
        "only_none": (P().op(b"N").stop(), "NOT_AN_EMBEDDING"), "empty_dict": (P().op(b"}").stop(), "NOT_AN_EMBEDDING"),
        "hypernetwork": (P().op(b"}(M\x40\1]u").stop(), "NOT_AN_EMBEDDING"),
        "checkpoint": (P().under("state_dict", lambda p: p.op(b"}")).stop(), "NOT_AN_EMBEDDING"),
        "optimizer": (P().under("optimizer_state_dict", lambda p: p.op(b"}")).stop(), "NOT_AN_EMBEDDING"),
    }
    for name, (pickle, error) in raw.items():
        yield f"{name}.pt", torch_zip(pickle, **DEFLATED), error


def containers():
    sound, data = emb_params(), ramp(1).tobytes()
    zeros = torch_zip(sound, bytes(34 << 20), **DEFLATED)
    yield "zip_bomb_deflate.pt", zeros, "TOO_LARGE"
    yield "two_data_pkl.pt", zipped({"a/data.pkl": sound, "b/data.pkl": sound, "a/data/0": data}), "BAD_ZIP"
    yield "no_data_pkl.zip", zipped({"a/readme.txt": b"hi"}), "BAD_ZIP"
    yield "data_pkl_too_deep.pt", zipped({"a/../data.pkl": sound}), "BAD_ZIP"
    whole = torch_zip(sound)
    yield "zip_cut.pt", whole[:-30], "BAD_ZIP"
    flipped = bytearray(whole)
    flipped[whole.index(data[:16])] ^= 1
    yield "wrong_checksum.pt", bytes(flipped), "BAD_ZIP"
    twice = zipped({"a/data.pkl": sound, "a/data.pkx": sound, "a/data/0": data})
    yield "duplicate_names.pt", twice.replace(b"data.pkx", b"data.pkl"), "BAD_ZIP"
    yield "encrypted.pt", set_flag(whole), "BAD_ZIP"
    yield "legacy_cut.pt", legacy(sound, WIDTH, data[:20]), "TRUNCATED"
    yield "legacy_numel_lie.pt", legacy(sound, 2**64 - 1, data), "TRUNCATED"
    head = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    two = {**head, "b": {"dtype": "F32", "shape": [1], "data_offsets": [2, 6]}}
    hole = {**head, "b": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]}}
    huge = {"a": {"dtype": "F32", "shape": [2**32], "data_offsets": [0, 4]}}
    yield "st_overlap.safetensors", safetensors_raw(two, bytes(6)), "BAD_SAFETENSORS"
    yield "st_hole.safetensors", safetensors_raw(hole, bytes(12)), "BAD_SAFETENSORS"
    yield "st_trailing.safetensors", safetensors_raw(head, bytes(5)), "BAD_SAFETENSORS"
    yield "st_cut.safetensors", safetensors_raw(head, bytes(3)), "TRUNCATED"
    yield "st_huge_shape.safetensors", safetensors_raw(huge, bytes(4)), "TOO_LARGE"
    yield "st_twice.safetensors", safetensors_raw(b'{"a":1,"a":1}'), "BAD_SAFETENSORS"
    yield "st_deep.safetensors", safetensors_raw(b'{"a":' + b"[" * 20_000), "BAD_SAFETENSORS"
    yield "st_not_utf8.safetensors", safetensors_raw(b'{"\xff":1}'), "BAD_SAFETENSORS"
    yield "st_long_header.safetensors", struct.pack("<Q", 17 << 20) + b'{"a":1}', "TOO_LARGE"
    yield "st_no_json.safetensors", b"\xff" * 8 + b"{", "UNKNOWN_FORMAT"
    yield "st_empty.safetensors", safetensors_raw(b"{}"), "NOT_AN_EMBEDDING"
    lora = {"lora_unet_x.lora_up.weight": torch.zeros(4, 4), "lora_unet_x.lora_down.weight": torch.zeros(4, 4)}
    yield "lora.safetensors", safetensors.torch.save(lora), "NOT_AN_EMBEDDING"
    yield "vae.safetensors", safetensors.torch.save({"decoder.conv_in.weight": torch.zeros(2, 2, 3, 3)}), "NOT_AN_EMBEDDING"


def set_flag(archive):
    """The flag of encryption, in both places that have it."""
    archive = bytearray(archive)
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        archive[archive.index(mark) + at] |= 1
    return bytes(archive)


def others():
    yield "page.pt", b"<!DOCTYPE html><html><body>404</body></html>", "HTML_PAGE"
    yield "pointer.pt", b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3819\n", "LFS_POINTER"
    yield "empty.pt", b"", "EMPTY_FILE"
    yield "workflow.json", json.dumps({"nodes": []}).encode(), "UNKNOWN_FORMAT"
    yield "model.gguf", b"GGUF\3\0\0\0" + bytes(16), "UNKNOWN_FORMAT"
    yield "old.tar", bytes(257) + b"ustar" + bytes(250), "UNKNOWN_FORMAT"
    yield "noise.bin", bytes(range(100, 250)), "UNKNOWN_FORMAT"
    yield "plain_pickle.pkl", P().op(b"}").stop(), "UNKNOWN_FORMAT"


def pictures():
    plain, two = photo(), ramp(2)

    def text(content, kind=b"tEXt"):
        return png(plain, [(kind, content)])

    def tensor(value):
        return text(armoured(picture_json(two, string_to_param={"*": {"TORCHTENSOR": value}})))

    yield "no_embedding.png", png(plain), "NOT_AN_EMBEDDING"
    yield "no_embedding_flat.png", png(np.full((20, 20, 3), 0x50, np.uint8)), "NOT_AN_EMBEDDING"
    yield "no_embedding_black.png", png(np.zeros((20, 20, 3), np.uint8)), "NOT_AN_EMBEDDING"
    yield "no_embedding_grey16.png", png(Image.fromarray(plain[:, :, 0].astype(np.uint16) * 257)), "NOT_AN_EMBEDDING"
    hidden = with_hidden(plain, picture_json(two))
    touched = hidden.copy()
    touched[3, 2] ^= 1
    yield "hidden_touched.png", png(touched), "NOT_AN_EMBEDDING"
    yield "hidden_no_json.png", png(with_hidden(plain, b"hello")), "BAD_PICTURE"
    yield "hidden_bomb.png", png(with_hidden(plain, bytes(17 << 20))), "NOT_AN_EMBEDDING"
    for name, form, options in [("lossy.webp", "WEBP", {"quality": 90}), ("hidden.jpg", "JPEG", {}), ("hidden.gif", "GIF", {})]:
        out = io.BytesIO()
        Image.fromarray(hidden).save(out, form, **options)
        yield name, out.getvalue(), "NOT_AN_EMBEDDING"
    yield "picture.avif", struct.pack(">I", 28) + b"ftypavif" + bytes(40), "NOT_AN_EMBEDDING"
    yield "cut.png", png(plain)[:300], "BAD_PICTURE"
    yield "signature_only.png", b"\x89PNG\r\n\x1a\n", "BAD_PICTURE"
    yield "not_base64.png", text(KEYWORD + b"\0<script>"), "BAD_PICTURE"
    yield "not_json.png", text(armoured(b"{not json")), "BAD_PICTURE"
    yield "json_deep.png", text(armoured(b"[" * 5000)), "BAD_PICTURE"
    yield "json_list.png", text(armoured(b"[1,2]")), "NOT_AN_EMBEDDING"
    yield "json_ragged.png", tensor([[1.0, 2.0], [3.0]]), "BAD_PICTURE"
    yield "json_uneven.png", tensor([[[]], [1.0]]), "BAD_PICTURE"
    yield "json_words.png", tensor([["a"]]), "BAD_PICTURE"
    yield "json_nan.png", tensor([[float("nan")] * WIDTH]), "NOT_FINITE"
    yield "json_large_number.png", tensor([[1e300] * WIDTH]), "NOT_FINITE"
    yield "json_no_tensor.png", text(armoured(picture_json(two, string_to_param={}))), "NOT_AN_EMBEDDING"
    zeros = zlib.compress(base64.b64encode(bytes(30 << 20)), 9)
    yield "text_bomb.png", text(KEYWORD + b"\0\0" + zeros, b"zTXt"), "BAD_PICTURE"
    yield "text_method.png", text(KEYWORD + b"\0\7abc", b"zTXt"), "BAD_PICTURE"
    crc = bytearray(text(armoured(picture_json(two))))
    crc[crc.index(KEYWORD) + 40] ^= 1
    yield "text_checksum.png", bytes(crc), "BAD_PICTURE"
    size = bytearray(png(plain))
    size[16:24] = struct.pack(">II", 65_000, 65_000)
    size[29:33] = struct.pack(">I", zlib.crc32(bytes(size[12:29])))
    yield "huge.png", bytes(size), "TOO_LARGE"
    out = io.BytesIO()
    Image.fromarray(hidden).save(out, "WEBP", lossless=True, exact=True)
    yield "cut.webp", out.getvalue()[:400], "BAD_PICTURE"


def files():
    for part in (code, tensors, streams, containers, others, pictures):
        yield from part()
