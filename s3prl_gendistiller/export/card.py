"""The model card of a student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from s3prl_gendistiller.config import ModelConfig
from s3prl_gendistiller.student_kinds import kind_of

_HUB = """\
With s3prl, which requires an account of the hub (HF_USERNAME, HF_PASSWORD):

    python run_downstream.py -m train --hub huggingface -u ORGANISATION/{name} -d asr -n my_asr

`--upstream_model_name` can be left out: the weights are in model.safetensors. Without s3prl's runner, in this folder:

    import torch
    from expert import UpstreamExpert
    upstream = UpstreamExpert()
    upstream([torch.randn(16000), torch.randn(9000)])["hidden_states"]  # a list of (B, T, {width}), 50 frames a second

requirements.txt lists the packages that the student needs. The code beside expert.py is a copy from s3prl-gendistiller
{version} (Apache License 2.0), which need not be installed.
"""
_TRANSFORMERS = """\
    import torch
    from transformers import AutoFeatureExtractor, AutoModel
    model = AutoModel.from_pretrained("{name}", trust_remote_code=True).eval()
    extractor = AutoFeatureExtractor.from_pretrained("{name}")
    wavs = [torch.randn(16000).numpy(), torch.randn(9000).numpy()]  # at 16 kHz
    inputs = extractor(wavs, sampling_rate=16000, padding=True, return_tensors="pt")
    model(**inputs, output_hidden_states=True).hidden_states  # a tuple of (B, T, {width}), 50 frames a second

`AutoModelForCTC` and `AutoModelForAudioClassification` put a new head on the student, to be fine-tuned. After
`import s3prl_gendistiller.transformers`, `trust_remote_code` can be left out. The code in this folder is a copy from
s3prl-gendistiller {version} (Apache License 2.0), which need not be installed.
"""
_SAFETENSORS = """\
With s3prl-gendistiller {version} or a later one:

    import torch
    from s3prl_gendistiller import load_student
    load_student("{name}").generate(torch.randn(16000)).hidden_states  # a list of (B, T, {width}), 50 frames a second
"""
_ONNX = """\
With s3prl-gendistiller {version} or a later one, and `pip install "s3prl-gendistiller[onnx]"`:

    import torch
    from s3prl_gendistiller.inference.onnx_student import OnnxStudent
    student = OnnxStudent("{name}", threads=1)
    states, mask = student([torch.randn(16000), torch.randn(9000)])  # a list of (B, T, {width}), 50 frames a second

With onnxruntime alone, 1.21 or later:

    import numpy, onnxruntime
    session = onnxruntime.InferenceSession("{name}/model.onnx")
    wavs = numpy.random.randn(2, 16000).astype("float32")  # at 16 kHz, between -1 and 1
    wavs[1, 9000:] = 0  # zero behind an utterance
    inputs = {{"wavs": wavs, "lengths": numpy.array([16000, 9000])}}
    *states, frames = session.run(None, inputs)  # frames: how many of each utterance are real
"""
USES = {
    "hub": (_HUB, "s3prl"),
    "transformers": (_TRANSFORMERS, "transformers"),
    "safetensors": (_SAFETENSORS, "s3prl"),
    "onnx": (_ONNX, "onnxruntime"),
    "onnx-int8": (_ONNX, "onnxruntime"),
}
"""For each format, how its folder is used, and the library that the hub names for it."""
_LICENSE = "apache-2.0"
_TAGS = ["benchmark:superb", "type:model"]  # as in s3prl's own cards


@dataclass(frozen=True)
class Card:
    """Facts about a student that its configuration does not hold.

    Attributes:
        parameters: number of parameters that the student uses.
        gmacs_per_s: billions of multiply-adds per second of audio.
        utterance_seconds: length of the utterance on which the multiply-adds were counted.
        scores: task, metric with its unit, and value, in the order of the table.
        settings: settings of the runs that reached the scores, in words.
        official: the scores were reached at SUPERB's published settings; only such scores go into the header, from
            which programs read scores as SUPERB's.
    """

    name: str
    parameters: int
    gmacs_per_s: float
    utterance_seconds: int
    scores: Sequence[tuple[str, str, str]] = field(default=())
    settings: str = ""
    official: bool = False


def render(card: Card, config: ModelConfig, steps: int | None, version: str, form: str = "hub") -> str:
    """README.md of a student in the format `form` that generates `steps` layers by default (None: all).

    `version` is that of this package.
    """
    use, library = USES[form]
    stops = "" if steps is None else f" By default, the student stops after the first {steps} of them."
    head = f"---\n{_header(card, library)}\n---\n\n# {card.name}\n"
    sections = [
        head,
        f"{config.description()}{stops}\n",
        _cost(card),
    ]
    if card.scores:
        rows = [f"| {task} | {metric} | {value} |" for task, metric, value in card.scores]
        sections += ["## Scores", "", card.settings, "", "| task | metric | value |", "|---|---|---|", *rows, ""]
    sections += ["## Use\n", use.format(name=card.name, width=config.student.encoder_embed_dim, version=version)]
    layers = len(config.distill.target_layers)
    if form == "hub" and kind_of(config).stepwise and layers > 1:
        sections.append(f'`-g "steps: 1"` generates the first of the {layers} layers only, in less time.\n')
    return "\n".join(sections)


def _header(card: Card, library: str) -> str:
    """The metadata that the hub reads: licence, tags and, as model-index, the scores."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(task, "superb", "SUPERB", metric.removesuffix(" %").lower(), float(value), metric_name=metric)
        for task, metric, value in (card.scores if card.official else ())
    ]
    data = ModelCardData(license=_LICENSE, datasets=["superb"], tags=[f"library:{library}", *_TAGS])
    if library == "transformers":
        data.library_name = library
    if results:
        data.model_name, data.eval_results = card.name, results
    return str(data.to_yaml())


def _cost(card: Card) -> str:
    return (
        "## Cost\n\n"
        f"- {card.parameters:,} parameters\n"
        f"- {card.gmacs_per_s:.3f} G multiply-adds per second of audio, on an utterance of {card.utterance_seconds} s\n"
    )
