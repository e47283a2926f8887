#!/usr/bin/env bash
# Tests, throughput and a short training on one GPU, in at most 8 minutes; see benchmarks/gpu.py for all options.
#   benchmarks/gpu.sh --out result/gpu --s3prl path/to/s3prl/s3prl
#   benchmarks/gpu.sh --out result/gpu --wheels wheels        # without a network: installs the wheels of a folder first
#   benchmarks/gpu.sh --out result/gpu --small --minutes 6    # a trial of every part on a CPU, with tiny models
set -uo pipefail
export KIT_STARTED="${KIT_STARTED:-$(date +%s)}"
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="${PYTHON:-python3}"
options=()
while (($#)); do
    case "$1" in
        --wheels)
            wheels=("${2:-}"/*.whl)
            [[ -f "${wheels[0]}" ]] || { echo "error: --wheels: found no *.whl in '${2:-}', expected a folder of wheels" >&2; exit 2; }
            site="$(mktemp -d)"
            "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" "${wheels[@]}" \
                || { echo "error: --wheels $2: the wheels cannot be installed" >&2; exit 2; }
            export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
            shift 2
            ;;
        *)
            options+=("$1")
            shift
            ;;
    esac
done
export PYTHONPATH="$root:$root/benchmarks${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 TOKENIZERS_PARALLELISM=false
exec "$python" "$root/benchmarks/gpu.py" ${options[@]+"${options[@]}"}
