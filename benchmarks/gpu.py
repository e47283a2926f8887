"""Tests, throughput and a short training on one GPU: one command for a machine that is lent for a few minutes.

    python benchmarks/gpu.py --out result/gpu --s3prl path/to/s3prl/s3prl     # on the machine with the GPU
    python benchmarks/gpu.py --out result/gpu --small --minutes 6             # a trial of every part on a CPU

benchmarks/gpu.sh does the same and can install wheels before. The parts, in the order of their worth:

    tests       pytest -m gpu: CPU and GPU agree, precisions, no wait inside a step, NCCL, resume, features
    throughput  benchmarks/throughput.py: s3prl's own distiller and our students at paper scale
    training    the paper-scale command on made speech, killed by SIGKILL in the middle, resumed, and once by torchrun
    compiled    benchmarks/throughput.py again, for our GenDistiller with and without torch.compile

The speech and the teacher of the training are written while the tests run. A part has its share of the time that is
left; a part that fails or takes too long is ended, and the next one begins. After each part, results.json and
results.md in --out hold what is known; log.txt holds the output of all parts. The status is 0 if all parts passed,
else 1.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from kit import PREPARE_LOG, ROOT
from kit.machine import facts
from kit.parts import Part, Results, run_part, start_process, stop

PARTS = ["tests", "throughput", "training", "compiled"]
LEAST = 10.0  # seconds; no part begins with less time left
RESERVE = 6.0  # seconds at the end, for the last files


def parts(args: argparse.Namespace, work: Path) -> list[Part]:
    """The parts that were chosen, each with its weight: its share of the time that the parts after it also need."""
    device, out = args.device, args.out
    extras = ["-n", str(args.workers), "--dist", "worksteal"] if args.workers and find_spec("xdist") else []
    extras += ["--timeout", "150"] if find_spec("pytest_timeout") else []
    tests = ["-m", "pytest", str(ROOT / "tests" / "gpu"), "-m", "gpu", "-vv", "-p", "no:cacheprovider", *extras]
    measure = [str(ROOT / "benchmarks/throughput.py"), "--device", device]
    if args.small:
        measure += ["--batch", "1", "--seconds", "0.5", "--rounds", "1"]
    throughput = [*measure, "--out", str(out / "throughput.md")]
    throughput += ["--forms", "gendistiller"] if args.small else []
    throughput += [] if args.s3prl is None else ["--s3prl", str(args.s3prl.resolve())]
    compiled = [*measure, "--out", str(work / "compiled.md"), "--forms", "gendistiller", "--compile", "gendistiller"]
    training = ["-m", "kit.training", "--work", str(work), "--out", str(out / "training.json"), "--device", device]
    training += ["--small"] if args.small else []
    alone = {"GPU_TESTS_ON": device, "OMP_NUM_THREADS": "1"}  # the tests run beside one another
    known = [
        Part("tests", 0.30, tests, ROOT, out, alone),
        Part("throughput", 0.34, throughput, work, out, minutes=True),
        Part("training", 0.26, training, work, out),
        Part("compiled", 0.10, compiled, work, work, minutes=True),
    ]
    return [part for part in known if part.name in args.parts]


def problems(args: argparse.Namespace) -> Iterator[str]:
    """What would cost time of the GPU before it is noticed."""
    if unknown := sorted(set(args.parts) - set(PARTS)):
        yield f"--parts: found {' '.join(unknown)}, expected some of {' '.join(PARTS)}"
    if not 0 < args.minutes < math.inf:
        yield f"--minutes: found {args.minutes}, expected a number of minutes above 0"
    if args.out.exists() and not args.out.is_dir():
        yield f"--out: {args.out} is a file, expected a folder; give another one"
    if args.s3prl is not None and not (args.s3prl / "pretrain" / "distiller").is_dir():
        yield f"--s3prl: {args.s3prl} lacks pretrain/distiller, expected the folder s3prl/ of s3prl's repository"
    if find_spec("torch") is None:
        yield f"{sys.executable} has no torch; name the Python to use with PYTHON=path/to/python"
    elif args.device == "cuda" and not gpu_found():
        yield "no GPU was found; --small tries the kit on a CPU"


def gpu_found() -> bool:
    import torch

    return torch.cuda.is_available()


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("result/gpu"), help="folder of results; default: %(default)s")
    parser.add_argument("--s3prl", type=Path, metavar="DIR", help="folder s3prl/ of s3prl's repository")
    parser.add_argument("--minutes", type=float, default=8.0, help="of all parts together; default: %(default)s")
    parser.add_argument("--parts", nargs="+", default=PARTS, help="default: all")
    parser.add_argument("--small", action="store_true", help="tiny models on a CPU, to try the kit itself")
    parser.add_argument("--device", help="default: cuda, with --small cpu")
    parser.add_argument("--workers", type=int, help="processes of the tests; default: 6, with --small 0")
    args = parser.parse_args(argv)
    args.out = args.out.resolve()
    args.device = args.device or ("cpu" if args.small else "cuda")
    args.workers = args.workers if args.workers is not None else (0 if args.small else 6)
    if found := list(problems(args)):
        parser.error("\n  ".join(found))
    args.out.mkdir(parents=True, exist_ok=True)
    began = float(os.environ.get("KIT_STARTED", time.time()))
    end = began + 60 * args.minutes - RESERVE
    results = Results(args.out, facts(args.device), began)
    with tempfile.TemporaryDirectory(prefix="gpu-kit-", ignore_cleanup_errors=True) as scratch:
        work = Path(scratch)
        chosen = parts(args, work)
        prepare = ["-m", "kit.prepare", "--work", str(work), *(["--small"] if args.small else [])]
        preparing = start_process(prepare, work, work / PREPARE_LOG, {}) if "training" in args.parts else None
        try:
            for place, part in enumerate(chosen):
                left = end - time.time()
                share = part.weight / sum(other.weight for other in chosen[place:])
                if left < LEAST:
                    results.add(part, "not run: no time was left", 0.0, left)
                    continue
                if part.name == "training" and preparing is not None and preparing.poll():
                    problem = (work / PREPARE_LOG).read_text(errors="replace")
                    results.add(part, "not run: its speech and teacher could not be written", 0.0, left, problem)
                    continue
                run_part(part, left * share, results)
        finally:
            if preparing is not None:
                stop(preparing)
    print(results.text(), flush=True)
    return 0 if results.all_passed else 1


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
