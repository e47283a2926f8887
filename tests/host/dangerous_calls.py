"""Every call of s3prl that a command of this package can reach and that could run code from a file, with its guard.

The calls are found by reading s3prl's source (`found_calls`); the table below names the guard of each.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HOST = "s3prl_gendistiller.host."
# Guards that are functions or tables of ours; a test imports each.
DOWNSTREAM = HOST + "downstream_config.check_downstream"  # of a YAML; check_stored_config of a checkpoint
OF_TASK = HOST + "downstream_config.EVALUATED"  # for tasks outside SUPERB
STORED = HOST + "stored_run.check_stored_downstream"
STORED_PRETRAIN = HOST + "stored_run.check_stored_pretrain"
SETTINGS = HOST + "stored_run.check_settings"
PRETRAIN = HOST + "pretrain_config.runner_for_host"
OPTIMIZERS, SCHEDULERS = (
    "s3prl_gendistiller.config_optimizer.OPTIMIZERS",
    "s3prl_gendistiller.config_optimizer.SCHEDULERS",
)
OVERRIDES = HOST + "overrides.Overrides.text"
READ = HOST + "checkpoint.read_checkpoint"
YAML = "s3prl_gendistiller.documents.read_yaml"
PICKLE = HOST + "shims.downstream_experts.PlainPickle"
CLASS = HOST + "shims.downstream_experts.class_of"
UPSTREAM_TEXT = HOST + "shims.upstream_guards.literal"
UPSTREAM_FEATURE = HOST + "shims.upstream_guards.kaldi_feature"
UPSTREAM_LOADER = HOST + "shims.upstream_guards.GUARDS"  # a view of `torch` that loads with `read_checkpoint`
UPSTREAM_FILE = HOST + "upstream_files.check_file"
COMMAND = HOST + "shims.task_data.NoSubprocess"
# Calls that need no guard, and why.
LITERAL = "the text stands in s3prl's source"
SAFE_LOAD = "torch.load takes weights and the allow-list alone; launch.guarded drops the variable that turns it off"
PLAIN = "numpy refuses pickled objects, PyYAML's FullLoader from 6.0 makes none"
OWN_FOLDER = "s3prl wrote the file into its own package"
FIXED = "the file comes from an address in s3prl's source"
UNUSED = "no command of ours comes here: no caller, or fairseq's command line"
REASONS = (LITERAL, SAFE_LOAD, PLAIN, OWN_FOLDER, FIXED, UNUSED)


class Call(NamedTuple):
    path: str  # below the package
    text: str


TEN = ("asr", "ctc", "speech_commands", "voxceleb1", "sv_voxceleb1", "diarization", "fluent_commands", "emotion")

# (path or pattern, calls, guard); the first row that fits counts.
TABLE: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("run_downstream.py", ("eval(f'runner.{args.mode}')",), OVERRIDES),  # argparse has the choices of -m
    ("run_pretrain.py", ("eval('runner.train')",), LITERAL),
    ("run_*.py", ("torch.load(ckpt_pth, map_location='cpu')", "torch.load(args.init_ckpt, map_location='cpu')"), READ),
    ("run_downstream.py", ("yaml.load(file, Loader=yaml.FullLoader)",), DOWNSTREAM),
    ("run_pretrain.py", ("yaml.load(file, Loader=yaml.FullLoader)",), PRETRAIN),
    ("utility/helper.py", ("eval(value_str)",), OVERRIDES),
    ("utility/helper.py", ("torch.load(from_path, map_location='cpu')",), UNUSED),
    ("optimizers.py", ("eval(f'get_{optimizer_name}')", "getattr(torch.optim, torch_optim_name)"), OPTIMIZERS),
    ("schedulers.py", ("eval(f'get_{scheduler_name}')",), SCHEDULERS),
    ("*/runner.py", ("torch.load(self.args.init_ckpt, map_location='cpu')",), READ),
    ("downstream/runner.py", ("importlib.import_module(f's3prl.downstream.{self.args.downstream}.expert')",), STORED),
    ("downstream/runner.py", ("getattr(hub, self.args.upstream)",), STORED),
    ("downstream/runner.py", ("getattr(model.module, interface)",), LITERAL),
    ("pretrain/runner.py", ("importlib.import_module(module_path)",), STORED_PRETRAIN),
    ("pretrain/*", ("yaml.load(open(upstream_config, 'r'), Loader=yaml.FullLoader)",), YAML),
    ("pretrain/*", ("np.load(os.path.join(self.root, feat_path))",), PLAIN),
    # tasks
    ("downstream/model.py", ("eval(config['select'])", "eval(pooling)", "getattr(nn, activation)"), DOWNSTREAM),
    ("downstream/asr/*", ("eval(self.modelrc['select'])", "eval(decoder_args.unk_weight)"), DOWNSTREAM),
    ("downstream/asr/*", ("getattr(self, f'{split}_dataset')", "getattr(nn, module.upper())"), DOWNSTREAM),
    (
        "downstream/ctc/*",
        ("eval(model_select)", "eval(metric)", "BertTokenizer.from_pretrained(vocab_file)"),
        DOWNSTREAM,
    ),
    (
        "downstream/diarization/*",
        ("subprocess.Popen(wav_rxfilename[:-1], shell=True, stdout=subprocess.PIPE)",),
        COMMAND,
    ),
    ("downstream/emotion/*", ("eval(model_type)",), DOWNSTREAM),
    ("downstream/sv_voxceleb1/*", ("torch.load(str(cache_path))",), SAFE_LOAD),
    (
        "downstream/sv_voxceleb1/*",
        (
            "eval(self.modelrc['ObjectiveLoss'])",
            "eval(module_name)",
            "eval(agg_module_name)",
            "eval(utterance_module_name)",
        ),
        DOWNSTREAM,
    ),
    ("downstream/voxceleb1/*", ("pickle.load(cache)",), PICKLE),
    ("downstream/voxceleb1/*", ("eval('self.{}'.format(mode))",), LITERAL),
    *[
        (f"downstream/{task}/*", ("eval(self.modelrc['select'])", "eval(f'self.get_{mode}_dataloader')"), DOWNSTREAM)
        for task in TEN
    ],
    # tasks outside SUPERB
    ("downstream/timit_phone/upstream_expert.py", ("torch.load(ckpt, map_location='cpu')",), SAFE_LOAD),
    ("downstream/timit_phone/upstream_expert.py", ("eval(modelrc['select'])",), CLASS),
    ("downstream/timit_phone/upstream_expert.py", ("getattr(s3prl.hub, args.upstream)",), UNUSED),
    ("downstream/voxceleb2*", ("pickle.load(open(cache_path, 'rb'))",), OWN_FOLDER),
    ("downstream/mos_prediction/*", ("torch.load(idtable)",), SAFE_LOAD),
    ("downstream/speech_translation/*", ("np.load(path)", "np.load(f)"), PLAIN),
    ("downstream/speech_translation/*", ("yaml.load(f, Loader=yaml.FullLoader)",), PLAIN),
    ("downstream/*", ("eval(f'self.get_{mode}_dataloader')", "eval(f'self.get_{split}_dataloader')"), OF_TASK),
    ("downstream/*", ("eval(agg_module)", "eval(config['module'])", "eval(self.modelrc['select'])"), OF_TASK),
    ("downstream/*", ("getattr(nn, module.upper())", "getattr(nn, module.upper() + 'Cell')"), OF_TASK),
    ("downstream/*", ("getattr(torch.nn, rnn)",), OF_TASK),
    # upstreams and their files
    ("upstream/baseline/extracter.py", ("eval(f'torchaudio.compliance.kaldi.{feat_type}')",), UPSTREAM_FEATURE),
    ("upstream/*", ("yaml.load(file, Loader=yaml.FullLoader)",), SETTINGS),
    ("upstream/*", ("yaml.load(open(config, 'r'), Loader=yaml.FullLoader)",), UNUSED),
    ("upstream/*", ("yaml.load(open(on_the_fly_config, 'r'), Loader=yaml.FullLoader)",), UNUSED),
    (
        "upstream/*",
        (
            "eval(cfg.conv_feature_layers)",
            "eval(self.cfg.conv_feature_layers)",
            "eval(config.extractor_conv_feature_layers)",
            "eval(cfg.conv_aggregator_layers)",
            "eval(cfg.override_encoder_layers)",
            "eval(x)",
        ),
        UPSTREAM_TEXT,
    ),
    ("upstream/*", ("eval(module_name)", "eval(hook.module_path)", "getattr(self, module_name)"), LITERAL),
    ("upstream/*", ("torch.load(options['ckpt_file'], map_location='cpu', weights_only=False)",), UPSTREAM_LOADER),
    ("upstream/roberta/*", ("torch.load(ckpt, map_location='cpu', weights_only=False)",), UPSTREAM_LOADER),
    (
        "upstream/*",
        tuple(
            f"torch.load({given})"
            for given in (
                "ckpt",
                "ckpt, map_location='cpu'",
                "ckpt_path, map_location='cpu'",
                "path, 'cpu'",
                "path, map_location='cpu'",
                "model_file_path",
                "weight_file, map_location=device",
                "pretrained_ckpt, map_location='cpu'",
                "load_pretrained_mdl_path, map_location=device",
                "options['ckpt_file'], map_location='cpu'",
            )
        ),
        SAFE_LOAD,
    ),
    (
        "upstream/hf_*",
        (
            "HubertModel.from_pretrained(ckpt)",
            "Wav2Vec2Model.from_pretrained(ckpt)",
            "Wav2Vec2FeatureExtractor.from_pretrained(ckpt)",
            "Wav2Vec2FeatureExtractor.from_pretrained(alter_extractor)",
        ),
        UPSTREAM_FILE,
    ),
    ("upstream/mos_prediction/*", ("getattr(s3prl.hub, self.upstream_type)",), LITERAL),
    ("upstream/passt/*", ("importlib.import_module(f'.hear21passt.{name}', __package__)",), LITERAL),
    ("upstream/roberta/hubconf.py", ("os.system(f'tar -xf {tar_file} -C {tar_dir}')",), FIXED),
    ("upstream/roberta/hubconf.py", ("getattr(s3prl.hub, f'vq_wav2vec_kmeans')",), LITERAL),
    (
        "upstream/roberta/*",
        (
            "check_call(cwd=f'tar -xf {tar_file} -C {tar_dir}'.split(), shell=True)",
            "RobertaModel.from_pretrained(model_name_or_path, checkpoint_file)",
            "hub_utils.from_pretrained(model_name_or_path, checkpoint_file, data_name_or_path, "
            "archive_map=cls.hub_models(), **kwargs)",
        ),
        FIXED,
    ),
    (
        "upstream/roberta/*",
        ("getattr(obj, k, default)", "getattr(obj, k, None)", "getattr(self, attribute_name)", "getattr(args, k)"),
        LITERAL,
    ),
)

_LOADERS = {"load", "loads", "load_all", "full_load", "unsafe_load", "Unpickler"}
_UNPICKLING = {
    "torch",
    "pickle",
    "_pickle",
    "yaml",
    "joblib",
    "np",
    "numpy",
    "dill",
    "cloudpickle",
    "marshal",
    "hub",
    "jit",
}
_IMPORTING = {"import_module", "load_module", "exec_module", "from_pretrained", "load_state_dict_from_url", "run_path"}
_RUNNING = {"system", "popen", "Popen", "check_call", "check_output", "run_module", "spec_from_file_location"}


def found_calls(package: Path) -> list[Call]:
    """Calls of the modules that our commands reach, in order, each text of a file once."""
    found = [
        Call(path.relative_to(package).as_posix(), ast.unparse(node))
        for path in sorted(reachable(package))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and is_dangerous(node)
    ]
    return list(dict.fromkeys(found))


def reachable(package: Path) -> set[Path]:
    """Modules that both launchers and every task import, and what those import."""
    waiting = [package / "run_pretrain.py", package / "run_downstream.py", package / "hub.py"]
    waiting += [*package.glob("downstream/*/expert.py"), *package.glob("pretrain/*/pretrain_expert.py")]
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += _imported(path, package)
    return seen


def _imported(path: Path, package: Path) -> Iterator[Path]:
    here = path.relative_to(package).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(here[: len(here) - node.level + 1]) if node.level else []
            names = [[*base, *(node.module or "").split("."), alias.name] for alias in node.names]
        else:
            continue
        for name in names:
            parts = [part for part in (name[1:] if name[0] == "s3prl" else name) if part]
            for length in range(1, len(parts) + 1):  # pretraining imports the same modules without the package name
                module = package.joinpath(*parts[:length])
                candidates = (module.with_suffix(".py"), module / "__init__.py")
                yield from (candidate for candidate in candidates if candidate.is_file())


def is_dangerous(call: ast.Call) -> bool:
    function = call.func
    if isinstance(function, ast.Name):
        name, owner = function.id, ""
    elif isinstance(function, ast.Attribute):
        name, owner = function.attr, ast.unparse(function.value).split(".")[-1]
    else:
        return False
    if not owner and name in ("getattr", "eval", "exec", "compile", "__import__"):
        return name != "getattr" or not isinstance(call.args[1], ast.Constant)
    return (name in _LOADERS and owner in _UNPICKLING) or name in _IMPORTING | _RUNNING or owner == "subprocess"
