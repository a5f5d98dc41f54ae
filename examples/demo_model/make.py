"""Everything about the demo model, in order; what is done already is not done again.

    cargo xtask demo-model            # makes a virtual environment and runs this
    python examples/demo_model/make.py

Stop it whenever you like: a training goes on where it was, at most 90 seconds back. To begin anew, delete target/demo-model/.
"""

import os
import pathlib
import subprocess
import sys

from training import WORK

HERE = pathlib.Path(__file__).resolve().parent
STAGES = [  # script, what it leaves behind
    ("train_vae.py", WORK / "vae.pt"),
    ("train_unet.py", WORK / "text_encoder.pt"),
    ("export.py", WORK / "shapes.safetensors"),
    ("train_embeddings.py", WORK / "embeddings.done"),
]
# Tables of a few 10 MB come and go at every layer. glibc takes each anew from the system, page by page; told to keep them, and to
# take large pages, a step of the UNet took 0.70 s instead of 0.86 on two cores, side by side; on another day 0.82 with them.
KEPT = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592:glibc.malloc.top_pad=268435456"


def main():
    environment = {"GLIBC_TUNABLES": KEPT, **os.environ}
    for script, result in STAGES:
        if result.exists():
            print(f"{script}: done before ({result})")
            continue
        print(f"{script} …", flush=True)
        subprocess.run([sys.executable, str(HERE / script)], check=True, env=environment)
        if result.suffix == ".done":
            result.touch()


if __name__ == "__main__":
    main()
