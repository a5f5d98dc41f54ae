"""Writes files/ and index.json: embeddings in every format, other files that people drop, and files made to do harm.

Run:  python make_corpus.py      (torch 2.15.0, safetensors 0.8.0, numpy 2.4.6, pillow 13.0.0; seconds)

index.json has for each file what must be found in it, as torch and numpy made it: {"embeddings": [{name, key, vectors,
width, first: the first four values, sha256: of all values as little-endian f32}]}, or {"error": the code}.
"""

import hashlib
import json
import pathlib
import shutil

import numpy as np

import good
import hostile

HERE = pathlib.Path(__file__).parent
FILES = HERE / "files"


def expected(file, rows, more):
    values = np.atleast_2d(np.asarray(rows, dtype="<f4"))
    stem = file.rsplit(".", 1)[0] if file.rsplit(".", 1)[-1] in ("pt", "bin", "png", "webp", "safetensors") else file
    return {
        "name": stem, **more, "vectors": values.shape[0], "width": values.shape[1],
        "first": values.ravel()[:4].tolist(), "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
    }


index = {}
shutil.rmtree(FILES, ignore_errors=True)
FILES.mkdir()
for file, content, found in good.files():
    index[file] = {"embeddings": [expected(file, rows, more) for rows, more in found]}
    (FILES / file).write_bytes(content)
for file, content, code in hostile.files():
    assert file not in index, file
    index[file] = {"error": code}
    (FILES / file).write_bytes(content)
lines = [f"{json.dumps(file)}: {json.dumps(what)}" for file, what in sorted(index.items())]
(HERE / "index.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
size = sum(path.stat().st_size for path in FILES.iterdir())
bad = sum("error" in what for what in index.values())
print(f"{len(index)} files, {len(index) - bad} embeddings and {bad} others, {size} bytes")
