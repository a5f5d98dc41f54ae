"""The corpora of the fuzz targets: `seeds FOLDER` writes what each target begins with, `pack FOLDER` keeps in corpora/TARGET.zip
what a merged corpus has that is small. tests/fuzz_corpora.rs and tests/browser/corpus.test.js replay them."""

import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
TESTS = HERE.parent
# A byte more each makes every checkout larger, for good.
LARGEST_FILE = 16 << 10
LARGEST_ZIP = 90 << 10
MOST_FILES = 400


def corpus(*endings):
    files = sorted(path for path in (TESTS / "corpus/files").iterdir() if path.name.endswith(endings))
    return [path.read_bytes() for path in files if path.stat().st_size <= 1 << 16]


def recipes(*endings):
    return [path.read_bytes() for path in sorted((TESTS / "golden/recipe").iterdir()) if path.name.endswith(endings)]


def pickles():
    for file in corpus(".pt", ".bin"):
        try:
            entries = zipfile.ZipFile(io.BytesIO(file))
            yield from (entries.read(name) for name in entries.namelist() if name.endswith("data.pkl"))
        except Exception:  # hostile ones
            yield file[:4096]


def headers():
    """As fuzz target `checkpoint` takes them: one header, and the parts of a folder with its configs."""
    configs = [{"attention_head_dim": [8, 8], "norm_num_groups": 32}, {"scaling_factor": 0.18215}, {"num_attention_heads": 12}, {"prediction_type": "v_prediction"}]
    for name in ["taesd", "two_levels", "two_levels.vae", "two_levels.unet", "two_levels.clip"]:
        file = (TESTS / f"golden/models/{name}.safetensors").read_bytes()
        header = file[8 : 8 + int.from_bytes(file[:8], "little")]
        yield header
        yield b"\0".join([header, b"{}", b"{}", *(json.dumps(config).encode() for config in configs)])


PROMPTS = [
    "a photo of (embedding:foo:1.2), {red|{green|blue}} // a comment",
    "[a:b:0.5] AND [c|d] :1.5 BREAK ((x)) \\( [e] 日本",
    "/* not */ [[from:to:5]:0.25] embedding:a,embedding:b (embedding:c.pt:1.1)",
    "(((deep))) [:late:3] \\{literal\\} 👍🏽 e\u0301 \u202e",
]
INFOTEXT = "\nNegative prompt: text, {a|b}\nSteps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 18446744073709551615, Size: 512x768, Model hash: 6ce0161689, Clip skip: 2, TI hashes: \"a: 0123456789ab\", Batch size: 2, ENSD: 31337"


def texts(ending=""):
    lines = (TESTS / "golden/prompt/a1111_prompt.txt").read_text(encoding="utf-8").splitlines()[:60]
    return [(text + ending).encode() for text in PROMPTS + [line for line in lines if line]]


SEEDS = {
    "pickle": pickles,
    "zip": lambda: corpus(".pt", ".bin"),
    "safetensors_header": lambda: corpus(".safetensors"),
    "png_embedding": lambda: corpus(".png", ".webp", ".jpg"),
    "recipe_picture": lambda: recipes(".png", ".webp", ".jpg"),
    "prompt": texts,
    "dynamic": texts,
    "infotext": lambda: texts(INFOTEXT),
    "workflow": lambda: recipes("workflow.json") + [b'{"3":{"class_type":"KSampler","inputs":{"seed":7,"steps":20,"cfg":8,"sampler_name":"euler","scheduler":"normal","denoise":1,"positive":["6",0],"latent_image":["5",0]}},"6":{"class_type":"CLIPTextEncode","inputs":{"text":"a cat"}},"5":{"class_type":"EmptyLatentImage","inputs":{"width":512,"height":512,"batch_size":1}}}'],
    "checkpoint": headers,
}


def named(content):
    return hashlib.sha1(content).hexdigest()[:16]


def seeds(folder):
    for target, make in SEEDS.items():
        place = folder / target
        place.mkdir(parents=True, exist_ok=True)
        kept = HERE / f"corpora/{target}.zip"
        before = [zipfile.ZipFile(kept).read(name) for name in zipfile.ZipFile(kept).namelist()] if kept.exists() else []
        for content in [*make(), *before]:
            (place / named(content)).write_bytes(content)


def pack(folder):
    (HERE / "corpora").mkdir(exist_ok=True)
    for target in SEEDS:
        files = sorted((path.read_bytes() for path in (folder / target).iterdir()), key=lambda content: (len(content), content))
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as entries:
            taken = 0
            for content in files:
                if len(content) > LARGEST_FILE or taken == MOST_FILES or packed.tell() + len(content) > LARGEST_ZIP:
                    break
                # A fixed date: the same corpus is the same file.
                entries.writestr(zipfile.ZipInfo(named(content)), content, zipfile.ZIP_DEFLATED)
                taken += 1
        (HERE / f"corpora/{target}.zip").write_bytes(packed.getvalue())
        print(f"{target}: {taken} of {len(files)} files, {len(packed.getvalue())} bytes")


if __name__ == "__main__":
    {"seeds": seeds, "pack": pack}[sys.argv[1]](Path(sys.argv[2]))
