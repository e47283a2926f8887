"""Packaging, stated here alone: dependencies, extras, the console command, and the shipped data folders."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
PACKAGE = "s3prl_gendistiller"
# Top-level folders of the repository that the wheel contains inside the package; `shipped.py` locates them.
SHIPPED_FOLDERS = ("upstream", "pretrain_configs", "downstream_runs", "teachers")
SHIPPED_FILES = ["*.yaml", "*.dict", "*.txt", "*.md", "*.json", "*.safetensors", "*.png", "*.csv"]  # not *.py

REQUIRES = [
    "s3prl>=0.4.15,<0.5",  # bounded above: host/ relies on internals of 0.4
    "torch>=2.6",  # earlier versions cannot load a checkpoint with an allow-list
    "torchaudio>=2.6",
    "transformers>=4.40,<6",
    "huggingface_hub>=0.23,<3",
    "safetensors>=0.4",
    "numpy>=1.24",
    "pyyaml>=6.0",
    "tqdm>=4.64",
    "packaging>=24.2",  # setuptools 77 uses the installed packaging to build
    "matplotlib>=3.7",
    "soundfile>=0.12.1",
    "soxr>=0.3.7",
    # s3prl imports these packages in its launchers and datasets but does not declare them
    "tensorboardX>=2.6",
    "pandas>=1.5",
    "editdistance>=0.6.2",
]

# Packages that s3prl's downstream folder of each SUPERB task imports in addition to REQUIRES.
TASKS: dict[str, list[str]] = {
    "asr": [],
    "pr": ["joblib>=1.2"],
    "sf": ["joblib>=1.2", "sentencepiece>=0.2"],
    "ks": [],
    "ic": [],
    "er": ["librosa>=0.10"],
    "sid": ["librosa>=0.10"],
    "asv": ["joblib>=1.2", "librosa>=0.10", "scikit-learn>=1.2", "scipy>=1.10", "sox>=1.4.1"],
    "sd": ["h5py>=3.8", "scipy>=1.10"],
    "qbe": ["dtw-python>=1.3.1", "lxml>=4.9", "scipy>=1.10"],  # 1.3.0 fails with numpy 2
}
CORPUS = ["espeakng-loader==0.2.4"]  # pinned: other versions synthesise other words and voices
ONNX = ["onnx>=1.17", "onnxruntime>=1.21", "onnxscript>=0.6", "onnx-ir>=0.1.16"]  # ONNX graphs; torch 2.9 writes them
UNITS = ["scikit-learn>=1.2"]  # k-means over a layer of a teacher
BOARD = ["vl-convert-python>=1.8"]  # Vega-Lite in one script, without the network
CLUSTER = ["submitit>=1.5.4"]  # jobs of SLURM
RAY = ["ray>=2.60,<3"]  # tasks of a running Ray
FINETUNE = ["accelerate>=0.30"]  # transformers' Trainer needs it
DEV = [
    "pytest>=8",
    "pytest-xdist>=3.5",
    "ruff>=0.6",
    "mypy>=1.10",
    "pre-commit>=3.5",
    "types-PyYAML",
    "setuptools>=77",  # tests build the wheel with setuptools
    "pyannote.metrics>=3.2.1",  # tests compare our DER with it
    *FINETUNE,  # tests run the example
    *BOARD,
    "selenium>=4.25",  # tests open the board in a browser
    *CLUSTER,
    *RAY,
]
SUPERB = sorted({requirement for task in TASKS.values() for requirement in task})


def version() -> str:
    """Version in `_version.py`, read as text, because importing the package would need its dependencies."""
    text = (ROOT / PACKAGE / "_version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', text, flags=re.MULTILINE)
    if found is None:
        raise RuntimeError(f'{PACKAGE}/_version.py: no line of the form __version__ = "1.2.3"')
    return found.group(1)


def shipped_packages() -> dict[str, str]:
    """Dotted name inside the wheel -> folder in the repository, for every shipped folder that contains files."""
    packages = {}
    for name in SHIPPED_FOLDERS:
        for folder in sorted([ROOT / name, *(ROOT / name).rglob("*")]):
            relative = folder.relative_to(ROOT)
            if "__pycache__" in relative.parts or not folder.is_dir():
                continue
            if any(entry.is_file() for entry in folder.iterdir()):
                packages[".".join([PACKAGE, "_shipped", *relative.parts])] = relative.as_posix()
    return packages


PAGES = {f"{PACKAGE}.superb.board": ["*.html", "*.css", "*.js"]}
CODE = find_packages(include=[PACKAGE, f"{PACKAGE}.*"])
SHIPPED = shipped_packages()
README = ROOT / "README.md"

setup(
    name="s3prl-gendistiller",
    version=version(),
    description="GenDistiller and DistilHuBERT inside s3prl: distil large speech models into small students",
    long_description=README.read_text(encoding="utf-8") if README.is_file() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.13",
    packages=[*CODE, *SHIPPED],
    package_dir=SHIPPED,
    package_data={PACKAGE: ["py.typed"], **PAGES, **{package: SHIPPED_FILES for package in SHIPPED}},
    include_package_data=False,
    zip_safe=False,
    install_requires=REQUIRES,
    extras_require={
        **TASKS,
        "superb": SUPERB,
        "corpus": CORPUS,
        "units": UNITS,
        "finetune": FINETUNE,
        "board": BOARD,
        "cluster": CLUSTER,
        "ray": RAY,
        "onnx": ONNX,
        "dev": [*DEV, *ONNX],
        "all": [*SUPERB, *CORPUS, *UNITS, *BOARD, *ONNX, *CLUSTER, *RAY, *DEV],
    },
    scripts=["run_pretrain.py", "run_downstream.py"],  # pip puts them on PATH, so they run from any folder
    entry_points={"console_scripts": ["gendistiller = s3prl_gendistiller.cli:main"]},
    classifiers=[
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Multimedia :: Sound/Audio :: Speech",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
