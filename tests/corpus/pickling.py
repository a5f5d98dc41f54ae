"""Files built byte by byte: pickles opcode by opcode, zips, safetensors, old torch streams, pictures with an embedding."""

import base64
import io
import json
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image

WIDTH = 64  # the text width of the small model of the browser tests


def ramp(n, start=0):
    """(n, WIDTH) different harmless numbers that every element type can hold."""
    return ((np.arange(n * WIDTH) + start) % 97 / 64 - 0.5).astype(np.float32).reshape(n, WIDTH)


class P:
    """A pickle of protocol 2 under construction."""

    def __init__(self, start=b"\x80\x02"):
        self.b = start

    def op(self, raw):
        self.b += raw
        return self

    def text(self, s):
        s = s.encode()
        return self.op(b"X" + struct.pack("<I", len(s)) + s)

    def int(self, n):
        return self.op(b"\x8a\x08" + struct.pack("<q", n))

    def glob(self, module, name):
        return self.op(f"c{module}\n{name}\n".encode())

    def ints(self, values):
        self.op(b"(")
        for n in values:
            self.int(n)
        return self.op(b"t")

    def storage(self, kind, key, numel, where="cpu", old=False):
        self.op(b"(").text("storage").glob("torch", kind).text(key).text(where).int(numel)
        return self.op(b"NtQ" if old else b"tQ")

    def tensor(self, size, stride, offset=0, numel=WIDTH, kind="FloatStorage", key="0", where="cpu", old=False):
        self.glob("torch._utils", "_rebuild_tensor_v2").op(b"(").storage(kind, key, numel, where, old).int(offset)
        return self.ints(size).ints(stride).op(b"\x89").glob("collections", "OrderedDict").op(b")RtR")

    def under(self, key, make):
        """{key: …}"""
        return make(self.op(b"}").text(key)).op(b"s")

    def stop(self):
        return self.b + b"."


def emb_params(**tensor):
    """A pickle of {"emb_params": one tensor}; the tensor's arguments may lie."""
    tensor = {"size": [1, WIDTH], "stride": [WIDTH, 1], **tensor}
    return P().under("emb_params", lambda p: p.tensor(**tensor)).stop()


def zipped(entries, method=zipfile.ZIP_STORED, zip64=False):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = method
            with z.open(info, "w", force_zip64=zip64) as f:
                f.write(content)
    return out.getvalue()


def torch_zip(pickle, data=None, root="archive", **options):
    data = ramp(1).tobytes() if data is None else data
    return zipped({f"{root}/data.pkl": pickle, f"{root}/data/0": data, f"{root}/version": b"3\n"}, **options)


def legacy(pickle, numel, data, little=True):
    magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
    system = P().under("little_endian", lambda p: p.op(b"\x88" if little else b"\x89")).stop()
    keys = P().op(b"](").text("0").op(b"e").stop()
    return magic + P().op(b"M\xe9\x03").stop() + system + pickle + keys + struct.pack("<Q", numel) + data


def safetensors_raw(header, data=b""):
    header = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(header)) + header + data


def picture_json(rows, name="in-the-picture", **changes):
    tensor = {"TORCHTENSOR": rows.tolist()}
    content = {
        "string_to_token": {"*": 265}, "string_to_param": {"*": tensor}, "name": name, "step": 5,
        "sd_checkpoint": None, "sd_checkpoint_name": None, **changes,
    }
    return json.dumps({key: value for key, value in content.items() if value != "left out"}).encode()


def photo(width=48, height=40):
    """Something like a photograph: smooth, with a little noise, and black borders left out."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([120 + 2 * x, 90 + 3 * y, 60 + x + y], -1) + np.random.default_rng(1).integers(0, 9, (height, width, 3))
    return np.clip(rgb, 1, 255).astype(np.uint8)


def png(pixels, chunks=(), after=()):
    """PIL's PNG, with chunks (type, content) before and after the pixels."""
    out = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(out, "PNG", optimize=True)
    raw = out.getvalue()

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return (raw[:33] + b"".join(chunk(*c) for c in chunks) + raw[33:-12] + b"".join(chunk(*c) for c in after) + raw[-12:])


KEYWORD = b"sd-ti-embedding"


def armoured(content):
    return KEYWORD + b"\0" + base64.b64encode(content)


def scramble(nibbles):
    state, noise = 0, []
    for _ in range(nibbles.size):
        state = (1664525 * state + 1013904223) % 2**32
        noise.append(state % 255 & 15)
    return nibbles ^ np.array(noise, np.uint8)


def with_hidden(pixels, content):
    """The picture between two strips whose low nibbles are the zlib stream of `content`; see spec/embeddings.md 3.7."""
    height = pixels.shape[0]
    packed = np.frombuffer(zlib.compress(content, 9), np.uint8)
    packed = np.append(packed, np.zeros(-packed.size % (height * 3), np.uint8))

    def strip(nibbles):
        return (scramble(nibbles).reshape(height, -1, 3) | 0x50).astype(np.uint8)

    gap = np.full((height, 1, 3), 0x50, np.uint8)
    return np.concatenate([strip(packed & 15), gap, pixels, gap, strip(packed >> 4)], axis=1)
