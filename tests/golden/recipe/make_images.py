"""Writes the small pictures of this folder with Pillow, the library that A1111 and ComfyUI save with, in the way they
use it; and workflow.json, the editor's form of the workflow of spec/embeddings.md §1.

Run:  python make_images.py      (Pillow 13.0.0; a second)
"""

import json
import pathlib

from PIL import Image
from PIL.PngImagePlugin import PngInfo

HERE = pathlib.Path(__file__).parent
PICTURE = Image.new("RGB", (8, 8), (90, 120, 40))

PARAMETERS = (
    "a porsche, (red:1.2)\nby the sea\n"
    "Negative prompt: text, watermark\n"
    "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 1234, Size: 512x768, "
    "Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Clip skip: 2, RNG: CPU, "
    'TI hashes: "easynegative: c74b4e810b03, badhandv4: 5e40d722fc3d", Version: v1.10.1'
)
UNICODE = PARAMETERS.replace("by the sea", "海のそば, café 🏎")


def link_list(*links):
    return [list(link) for link in links]


def node(number, kind, inputs, outputs, widgets):
    return {
        "id": number, "type": kind, "pos": [0, 0], "size": [210, 46], "flags": {}, "order": 0, "mode": 0,
        "inputs": [{"name": n, "type": t, "link": l} for n, t, l in inputs],
        "outputs": [{"name": t, "type": t, "slot_index": s, "links": l} for s, (t, l) in enumerate(outputs)],
        "properties": {"cnr_id": "comfy-core", "ver": "0.3.33", "Node name for S&R": kind},
        "widgets_values": widgets,
    }


WORKFLOW = {
    "id": "8b9f7796-0000-4025-be3c-0f997f67f866", "revision": 0, "last_node_id": 10, "last_link_id": 10,
    "nodes": [
        node(8, "VAEDecode", [("samples", "LATENT", 7), ("vae", "VAE", 10)], [("IMAGE", [9])], []),
        node(9, "SaveImage", [("images", "IMAGE", 9)], [], ["ComfyUI"]),
        node(7, "CLIPTextEncode", [("clip", "CLIP", 5)], [("CONDITIONING", [6])], ["text, watermark"]),
        node(5, "EmptyLatentImage", [], [("LATENT", [2])], [512, 512, 1]),
        node(
            3, "KSampler",
            [("model", "MODEL", 1), ("positive", "CONDITIONING", 4), ("negative", "CONDITIONING", 6),
             ("latent_image", "LATENT", 2)],
            [("LATENT", [7])], [1234, "fixed", 20, 8, "euler", "normal", 1],
        ),
        node(6, "CLIPTextEncode", [("clip", "CLIP", 3)], [("CONDITIONING", [4])], ["embedding:porsche911_ti"]),
        node(10, "VAELoader", [], [("VAE", [10])], ["vae-ft-mse-840000-ema-pruned.safetensors"]),
        node(
            4, "CheckpointLoaderSimple", [], [("MODEL", [1]), ("CLIP", [3, 5]), ("VAE", [])],
            ["v1-5-pruned-emaonly-fp16.safetensors"],
        ),
    ],
    "links": link_list(
        (1, 4, 0, 3, 0, "MODEL"), (2, 5, 0, 3, 3, "LATENT"), (3, 4, 1, 6, 0, "CLIP"), (4, 6, 0, 3, 1, "CONDITIONING"),
        (5, 4, 1, 7, 0, "CLIP"), (6, 7, 0, 3, 2, "CONDITIONING"), (7, 3, 0, 8, 0, "LATENT"), (9, 8, 0, 9, 0, "IMAGE"),
        (10, 10, 0, 8, 1, "VAE"),
    ),
    "groups": [], "config": {}, "extra": {"ds": {"scale": 0.82, "offset": [120.8, 103.9]}, "frontendVersion": "1.34.6"},
    "version": 0.4,
}

# The API form of the same, with a node of an extension and what Python makes of a missing number.
API = {
    "3": {"class_type": "KSampler", "inputs": {
        "seed": 1234, "steps": 20, "cfg": 8.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0,
        "model": ["4", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5-pruned-emaonly-fp16.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "embedding:porsche911_ti 海", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "text, watermark", "clip": ["4", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["10", 0]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
    "10": {"class_type": "VAELoader", "inputs": {"vae_name": "vae-ft-mse-840000-ema-pruned.safetensors"}},
    "11": {"class_type": "PlotOfSomebody", "inputs": {"value": float("nan")}, "is_changed": [float("nan")]},
}


def png(name, *texts, **how):
    info = PngInfo()
    for keyword, text in texts:
        info.add_text(keyword, text, **how)
    PICTURE.save(HERE / name, pnginfo=info)


def user_comment(text, order):
    """What piexif's UserComment.dump(text, "unicode") makes for A1111: big-endian, whatever the block is."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode(order)
    return exif


def comfy_exif():
    exif = Image.Exif()
    exif[0x0110] = "prompt:" + json.dumps(API)
    exif[0x010F] = "workflow:" + json.dumps(WORKFLOW)
    return exif


png("a1111.png", ("parameters", PARAMETERS))
png("a1111_unicode.png", ("parameters", UNICODE))
png("a1111_latin.png", ("parameters", PARAMETERS.replace("by the sea", "café, naïve")))
png("a1111_packed.png", ("parameters", PARAMETERS), zip=True)
png("a1111_unicode_packed.png", ("parameters", UNICODE), zip=True)
png("comfy.png", ("prompt", json.dumps(API)), ("workflow", json.dumps(WORKFLOW)))
png("comfy_workflow.png", ("workflow", json.dumps(WORKFLOW)))
png("plain.png", ("Software", "nobody"))
PICTURE.save(HERE / "a1111.jpg", exif=user_comment(UNICODE, "utf-16-be"))
PICTURE.save(HERE / "a1111_little.jpg", exif=user_comment(UNICODE, "utf-16-le"))
PICTURE.save(HERE / "comment.jpg", comment=PARAMETERS.encode())
PICTURE.save(HERE / "plain.jpg")
PICTURE.save(HERE / "a1111.webp", lossless=True, exif=user_comment(UNICODE, "utf-16-be"))
PICTURE.save(HERE / "comfy.webp", lossless=True, exif=comfy_exif())
PICTURE.save(HERE / "plain.webp", lossless=True)
(HERE / "workflow.json").write_text(json.dumps(WORKFLOW, indent=1) + "\n")
