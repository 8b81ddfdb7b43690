#!/bin/sh
# torch 2.13.0: processes that torchrun restarts find in their store the keys of those that died.
#
# With --max-restarts each attempt gets the store of the agent, by the same address and without a prefix of its own, though
# a comment in torch/distributed/rendezvous.py says "We create a new TCPStore for every retry so no need to add prefix for
# each attempt". A key that says that a process is ready, or an address, is found at once, and is that of a dead process; a
# counter goes on from where it was. A dist.PrefixStore with TORCHELASTIC_RESTART_COUNT in its name helps.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cat > "$folder/script.py" <<'PROGRAM'
import os
import sys

import torch.distributed as dist

attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
store, rank, size = next(dist.rendezvous("env://"))
found = store.get("ready").decode() if store.check(["ready"]) else None
own = dist.PrefixStore(f"attempt {attempt}", store)
print(f"attempt {attempt}: ready is {found}, behind a prefix {own.check(['ready'])}, the counter {store.add('count', 1)}")
store.set("ready", f"by attempt {attempt}")
own.set("ready", "")
sys.exit(attempt == "0")
PROGRAM
launch() {
    echo "torchrun $* --max-restarts 1:"
    (cd "$folder" && OMP_NUM_THREADS=1 venv/bin/torchrun "$@" --nproc-per-node 1 --max-restarts 1 script.py 2> /dev/null)
}
{
    launch --standalone
    launch --rdzv-backend static --master-port 29611
} > "$folder/found"
cat "$folder/found"
cat > "$folder/expected" <<'EXPECTED'
torchrun --standalone --max-restarts 1:
attempt 0: ready is None, behind a prefix False, the counter 1
attempt 1: ready is by attempt 0, behind a prefix False, the counter 2
torchrun --rdzv-backend static --master-port 29611 --max-restarts 1:
attempt 0: ready is None, behind a prefix False, the counter 1
attempt 1: ready is by attempt 0, behind a prefix False, the counter 2
EXPECTED
diff "$folder/expected" "$folder/found"
