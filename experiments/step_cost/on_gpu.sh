#!/usr/bin/env bash
# What only a GPU shows, in minutes: bash experiments/step_cost/on_gpu.sh FOLDER [PART...]. Each part has a limit of time and a log there.
set -u
cd "$(dirname "$0")/../.."
folder=$1
parts=" ${*:2} "
for name in ${parts}; do
  [[ " tests speed demo table " == *" $name "* ]] || { echo "there is no part '$name': name some of tests, speed, demo, table"; exit 2; }
done
mkdir -p "$folder"
demo=$(mktemp -d)
trap 'rm -rf "$demo"' EXIT
export PYTHONPATH="$PWD:${PYTHONPATH:-}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1

part() {  # NAME SECONDS COMMAND...; an interrupted pytest still tells what failed
  local name=$1 limit=$2 start=$SECONDS
  shift 2
  [[ $parts == "  " || $parts == *" $name "* ]] || return 0
  timeout --signal=INT --kill-after=15 "$limit" "$@" >"$folder/$name.log" 2>&1
  echo "$name: exit code $?, $((SECONDS - start)) s"
  tail -n 12 "$folder/$name.log"
}

nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
# what is missing is told before any minute is spent, and the libraries are read from disk once
python3 -c "import torch, pytest, hypothesis, tracer.demo.run, tracer.runs.fine_tune; torch.zeros(1, device='cuda')" || exit 1
part tests 130 python3 -m pytest -q -o addopts= -p no:cacheprovider -m gpu tests/unit/training/test_gpu.py
part speed 280 python3 experiments/step_cost/gpu.py --output "$folder"
[[ $parts == "  " || $parts == *" demo "* ]] && rm -f "$folder/results.json"
part demo 220 python3 -m tracer demo --output "$demo"
[[ -e $demo/results.json ]] && cp "$demo/results.json" "$folder"
part table 30 python3 experiments/step_cost/same_table.py "$folder/results.json"
