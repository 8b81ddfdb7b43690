#!/bin/sh
# torch 2.13.0: torchrun refuses flags of the script itself that begin two of its own options, as --run, --log or --no do.
#
# torchrun declares its options twice, with a hyphen and with an underscore, and Python's argparse looks for abbreviations
# in all arguments before it gives the rest to the script. A script's --run is an abbreviation of both --run-path and
# --run_path: "ambiguous option", also behind the script's name and after other arguments. A flag that is spelt as one of
# torchrun's own options (--role), or that abbreviates only one (--ro is --role alone), reaches the script. A -- in front
# of the script's name, or between it and its flags, passes everything on.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
echo 'import sys; print("the script got", sys.argv[1:])' > "$folder/script.py"
launch() {
    echo "torchrun $*:"
    (cd "$folder" && OMP_NUM_THREADS=1 venv/bin/torchrun --nproc-per-node 1 "$@" 2>&1 | tail -n 1)
}
{
    launch script.py --run folder
    launch script.py data --log file
    launch script.py --role name
    launch script.py --ro name
    launch -- script.py --run folder
    launch script.py -- --run folder
} > "$folder/found"
cat "$folder/found"
cat > "$folder/expected" <<'EXPECTED'
torchrun script.py --run folder:
torchrun: error: ambiguous option: --run could match --run-path, --run_path
torchrun script.py data --log file:
torchrun: error: ambiguous option: --log could match --log-dir, --log_dir, --logs-specs, --logs_specs
torchrun script.py --role name:
the script got ['--role', 'name']
torchrun script.py --ro name:
the script got ['--ro', 'name']
torchrun -- script.py --run folder:
the script got ['--run', 'folder']
torchrun script.py -- --run folder:
the script got ['--run', 'folder']
EXPECTED
diff "$folder/expected" "$folder/found"
