#!/usr/bin/env bash
# What only a GPU shows, in a few minutes: bash experiments/step_cost/on_gpu.sh FOLDER. Each part has a limit of time and a log there.
set -u
cd "$(dirname "$0")/../.."
folder=$1
mkdir -p "$folder"
export PYTHONPATH="$PWD:${PYTHONPATH:-}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1

part() {  # NAME SECONDS COMMAND...
  local name=$1 limit=$2 start=$SECONDS
  shift 2
  timeout "$limit" "$@" >"$folder/$name.log" 2>&1
  echo "$name: exit code $?, $((SECONDS - start)) s"
  tail -n 12 "$folder/$name.log"
}

nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
part tests 100 python3 -m pytest -q -o addopts= -p no:cacheprovider -m gpu tests/unit/training/test_gpu.py
part speed 280 python3 experiments/step_cost/gpu.py --output "$folder"
part demo 150 python3 -m tracer demo --output "$folder/demo"
part table 30 python3 experiments/step_cost/same_table.py "$folder/demo/results.json"
