"""Everything about the demo model, in order; what is done already is not done again.

    cargo xtask demo-model            # makes a virtual environment and runs this
    python examples/demo_model/make.py

Stop it whenever you like: a training goes on where it was, at most 90 seconds back. To begin anew, delete target/demo-model/.
"""

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


def main():
    for script, result in STAGES:
        if result.exists():
            print(f"{script}: done before ({result})")
            continue
        print(f"{script} …", flush=True)
        subprocess.run([sys.executable, str(HERE / script)], check=True)
        if result.suffix == ".done":
            result.touch()


if __name__ == "__main__":
    main()
