"""Teachers from a local transformers folder: HuBERT, WavLM, wav2vec 2.0; the class follows config.json's model_type.

The weights are read here instead of by ``from_pretrained``: each weight must have a place in the model, so that a
WavLM never loads without its position weights. Nothing is downloaded, and no code of a file is executed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s3prl_gendistiller.distill.audio import SAMPLE_RATE
from s3prl_gendistiller.distill.fused_attention import fuse_attention
from s3prl_gendistiller.distill.teacher import Encode, Teacher
from s3prl_gendistiller.distill.transformers_folder import CLASSES, FolderShape, read_encoder_weights, read_shape
from s3prl_gendistiller.distill.weights import check_weights
from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.models.front_end import ConvShape, frame_mask, normalise_samples, num_frames

TEACHER_KEY = "teacher.folder"


def read_teacher_shape(folder: str | Path, label: str = TEACHER_KEY) -> FolderShape:
    """Reads only the JSON files; `label` is the key or flag that names the folder, for messages.

    Raises:
        UserError: no transformers folder, or an unsupported one.
    """
    with _labelled(label):
        return read_shape(Path(folder))


def load_transformers_teacher(folder: str | Path) -> Teacher:
    """A frozen teacher from a local folder; raises a UserError as `load_encoder`."""
    model, encode, shape = load_encoder(folder)
    return Teacher(
        str(folder),
        model,
        encode,
        num_layers=shape.num_layers,
        width=shape.width,
        model_type=shape.model_type,
        naming="transformers",
        layout=shape.layout,
    )


def load_encoder(folder: str | Path, label: str = TEACHER_KEY) -> tuple[nn.Module, Encode, FolderShape]:
    """The trainable encoder of a folder in eval mode, the function that calls it, and its shape.

    Args:
        label: the key or flag that names the folder, for messages.

    Raises:
        UserError: the folder is no such model, or weights of the encoder are missing, unknown or not finite.
    """
    folder = Path(folder)
    with _labelled(label):
        shape = read_shape(folder)
        model = _build(folder, shape)
        weights = read_encoder_weights(folder, shape.model_type)
        whole = type(model).__name__
        check_weights(weights, model, folder, f"the unquantised {whole} of its config.json", whole)
        model.load_state_dict(weights, assign=True)  # the model was built on the meta device
        model.encoder.layers = LayersUpTo(model.encoder.layers)
        fuse_attention(model)
        _mask_without_wait(model)
        encode = functools.partial(_encode, normalise=shape.normalize, stable=shape.config.do_stable_layer_norm)
        _install_hooks(folder, model, encode, shape.num_layers)
    return model, encode, shape


@contextlib.contextmanager
def _labelled(label: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{label}: {error}") from error


class LayersUpTo(nn.ModuleList):
    """Transformer layers of which only the first `limit` run; layers above the highest target are not needed.

    A caller may set `mask`, which replaces the attention mask of each layer in the next pass.
    """

    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__(layers)
        self.limit = len(layers)
        self.mask: Tensor | None = None

    def run_up_to(self, highest: int, norm_first: bool) -> bool:
        """Sets the limit for the hidden states 0..highest; whether that takes all layers.

        A pre-norm encoder (`norm_first`) applies its final LayerNorm to the last state. One more layer runs, so that
        the needed states have no such norm.
        """
        whole = highest >= len(self)
        self.limit = len(self) if whole else max(highest, 1) + norm_first
        return whole

    def __iter__(self) -> Iterator[Any]:
        layers = list(self._modules.values())[: self.limit]
        mask, self.mask = self.mask, None
        return iter(layers if mask is None else [functools.partial(_masked, layer, mask) for layer in layers])


def _masked(layer: Any, mask: Tensor, *args: Any, **options: Any) -> Any:
    return layer(*args, **{**options, "attention_mask": mask})


def _mask_without_wait(model: Any) -> None:
    """Lets a model mask padded frames without a look at the mask, and without a number from the CPU: a GPU would wait.

    transformers reads whether the mask is true everywhere, which `_encode` knows from the lengths. WavLM's code does
    not read that.
    """
    shapes = [(1, *shape) for shape in zip(model.config.conv_kernel, model.config.conv_stride, strict=True)]
    model._get_feature_vector_attention_mask = functools.partial(_mask_frames, shapes)
    if model.config.model_type != "wavlm" and getattr(model.config, "_attn_implementation", None) == "sdpa":
        model.encoder.register_forward_pre_hook(_mask_layers, with_kwargs=True)


def _mask_frames(shapes: Sequence[ConvShape], frames: int, attention_mask: Tensor, **options: Any) -> Tensor:
    """The mask (B, T) of real frames from that of real samples (B, S)."""
    return frame_mask(num_frames(attention_mask.sum(-1), shapes), frames)


def _mask_layers(encoder: Any, args: tuple[Tensor, ...], options: dict[str, Any]) -> Any:
    """Zeroes padded frames and gives the mask to the layers; each replica of DataParallel has its own `encoder`."""
    hidden, *others = args
    mask = options.get("attention_mask")  # (B, T)
    if mask is None:
        return None
    mask = mask.bool()
    square = (-1, 1, mask.shape[1], -1)  # (B, 1, T, T), as the fused kernel takes it
    encoder.layers.mask = mask[:, None, None].expand(square)
    return (hidden.masked_fill(~mask.unsqueeze(-1), 0.0), *others), {**options, "attention_mask": None}


def _encode(
    model: Any, wavs: Tensor, lengths: Tensor, highest: int, *, normalise: bool, stable: bool
) -> Sequence[Tensor]:
    shortest = int(lengths.min())
    ends = torch.tensor([shortest, wavs.shape[1]])  # samples, on the CPU
    fewest, frames = model._get_feat_extract_output_lengths(ends).tolist()
    if fewest < 1:
        raise ValueError(f"found an utterance of {shortest} samples, expected at least one frame (400 samples)")
    real = frame_mask(lengths, wavs.shape[1], wavs.device)  # (B, S)
    if normalise:
        wavs = normalise_samples(wavs, real)
    # The mask also zeroes padded frames before the positional convolution. Attention is faster without a mask.
    attention_mask = real.long() if fewest < frames else None
    whole = model.encoder.layers.run_up_to(highest, stable)
    output = model(wavs, attention_mask=attention_mask, output_hidden_states=True)
    states = list(output.hidden_states)
    if whole:  # transformers 5 lists this state before the final LayerNorm, s3prl and transformers 4 after it
        states[-1] = output.last_hidden_state
    return states


def _install_hooks(folder: Path, model: Any, encode: Encode, num_layers: int) -> None:
    """Calls the encoder once, because transformers installs its hooks for hidden states at the first call.

    At a first call by DataParallel, each copy would add its hooks to those that all copies share, and every state would
    be listed several times.
    """
    samples = 2 * SAMPLE_RATE // 10
    with torch.no_grad(), torch.random.fork_rng(devices=[]):  # transformers 4 draws for layerdrop in eval mode
        states = encode(model.eval(), torch.zeros(1, samples), torch.tensor([samples]), num_layers)
    if len(states) != num_layers + 1:
        raise UserError(
            f"{folder} gives {len(states)} hidden states, expected {num_layers + 1}; this version of "
            "transformers is not supported; install the version in constraints.txt"
        )


def _build(folder: Path, shape: FolderShape) -> Any:
    """The model on the meta device, without dropout of layers, masking or adapters."""
    import huggingface_hub.errors
    import transformers

    name = CLASSES[shape.model_type]
    content = {key: value for key, value in dataclasses.asdict(shape.config).items() if key in shape.given}
    content |= {"layerdrop": 0.0, "apply_spec_augment": False, "add_adapter": False}
    content |= {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}
    # configurations of transformers 5 raise an exception class of their own
    strict = getattr(huggingface_hub.errors, "StrictDataclassError", ValueError)
    try:
        config = getattr(transformers, name.replace("Model", "Config")).from_dict(content)
        if not isinstance(config.num_hidden_layers, int):  # transformers 4 checks no types
            raise TypeError(f"num_hidden_layers is {config.num_hidden_layers!r}, expected a whole number")
        with torch.device("meta"):
            return getattr(transformers, name)(config)
    except (TypeError, ValueError, AttributeError, KeyError, RuntimeError, ArithmeticError, strict) as error:
        reason = " ".join((str(error) or repr(error)).split())[:300]
        raise UserError(f"{folder / 'config.json'} does not describe a {name}: {reason}") from error
