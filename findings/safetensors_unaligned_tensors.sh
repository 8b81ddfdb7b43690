#!/bin/sh
# safetensors 0.8.0 with torch 2.13.0: loaded tensors begin at addresses that are multiples of 4 bytes only.
#
# PyTorch's own tensors and those of torch.load begin at multiples of 64. A matrix product or reduction may take another
# kernel for unaligned memory and round differently, so the same weights give results that differ in the last digits
# before saving and after loading, and a run that is resumed on them departs from an uninterrupted one. Copying into
# tensors of PyTorch (load_state_dict, clone) restores the alignment.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 safetensors==0.8.0 numpy==2.4.6
cat > "$folder/program.py" <<'PROGRAM'
import os
import tempfile

import torch
from safetensors.torch import load_file, save_file

weights = {"a": torch.zeros(3), "b": torch.zeros(5, 7), "c": torch.zeros(8, 8)}
with tempfile.TemporaryDirectory() as folder:
    save_file(weights, os.path.join(folder, "w.safetensors"))
    torch.save(weights, os.path.join(folder, "w.pt"))
    loaded = {
        "before saving": weights,
        "torch.load": torch.load(os.path.join(folder, "w.pt")),
        "safetensors": load_file(os.path.join(folder, "w.safetensors")),
    }
    for name, tensors in loaded.items():
        print(f"{name}: all at multiples of 16 bytes: {all(t.data_ptr() % 16 == 0 for t in tensors.values())}")
PROGRAM
cat > "$folder/expected" <<'EXPECTED'
before saving: all at multiples of 16 bytes: True
torch.load: all at multiples of 16 bytes: True
safetensors: all at multiples of 16 bytes: False
EXPECTED
OMP_NUM_THREADS=1 "$folder/venv/bin/python" -W ignore "$folder/program.py" > "$folder/found"
cat "$folder/found"
diff "$folder/expected" "$folder/found"
