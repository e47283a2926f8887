from __future__ import annotations

import argparse

import pytest

from s3prl_gendistiller.errors import UserError
from s3prl_gendistiller.host import mount
from s3prl_gendistiller.host.overrides import Overrides, apply_overrides, read_overrides, script_flags


def test_overrides_are_read_as_the_host_reads_them() -> None:
    content = {"runner": {"total_steps": 1}, "optimizer": {"name": "a"}}
    text = "config.runner.total_steps=5,,config.optimizer.name='b',,config.new.key=[1, 2],,args.seed=3"
    assert apply_overrides(content, text) == {
        "runner": {"total_steps": 5},
        "optimizer": {"name": "b"},
        "new": {"key": [1, 2]},
    }
    assert apply_overrides(content, None) is content
    with pytest.raises(UserError, match="expected key=value"):
        apply_overrides(content, "config.a=b=c")


FLAGS = ("seed", "device", "upstream")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("runner.total_steps=3", "such as config.runner.total_steps=3"),
        ("conifg.runner.total_steps=3", "such as config.runner.total_steps=3"),
        ("arg.seed=3", "such as args.seed=3"),
        ("total_steps=3", "such as config.total_steps=3"),
        ("config=3", "expected config.KEY=VALUE or args.FLAG=VALUE"),
        ("config..a=3", "expected config.KEY=VALUE or args.FLAG=VALUE"),
        ("args.sed=3", "found args.sed, expected one of device, seed, upstream; did you mean seed?"),
        ("args.seed.x=3", "found args.seed.x, expected one of"),
        ("config.a", "expected key=value"),
        ("config.a=b=c", "expected key=value"),
        ("config.a=1e999", "expected a finite number"),
        ("config.a=[1, {'b': 1e999}]", "expected a finite number"),
        ("config.a=" + "9" * 400, "expected a whole number of 64 bits"),
        ("config.a=b'x'", "expected text, numbers and lists of them"),
        ("config.a={1, 2}", "expected text, numbers and lists of them"),
        ("config.a=" + "[" * 20 + "1" + "]" * 20, "expected text, numbers and lists of them"),
        ("config.optimizer.name.x=3", "config.optimizer.name.x, but name is 'a' there, no section of keys"),
    ],
)
def test_an_override_that_would_have_no_effect_is_refused_with_what_was_meant(text: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        read_overrides(text, FLAGS).apply({"optimizer": {"name": "a"}})
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_a_section_takes_the_place_of_a_section_and_the_words_of_yaml_are_known() -> None:
    found = apply_overrides({"a": {"b": 1, "c": 2}}, "config.a={'d': 3},,config.x.y=true,,config.z=Null")
    assert found == {"a": {"d": 3}, "x": {"y": True}, "z": None}


@pytest.mark.parametrize("text", [None, "", "none", "None", " ,, "])
def test_nothing_overridden_is_nothing(text: str | None) -> None:
    assert read_overrides(text).text() == ""


def test_s3prl_evaluates_what_we_wrote_and_nothing_else() -> None:
    """Through s3prl's own `override`: quotes, separators and code arrive as the text that they are."""
    mount.mount_hub()
    from s3prl.utility.helper import override

    evil = "__import__('os').system('touch /tmp/evil')"
    values = {"a": evil, "b": "x=y,,z\\", "c": [1, "=,,", {"d": None}], "e": 2e-4, "f": True, "g": "naïve\n"}
    overrides = Overrides({"device": evil}, {("s", name): value for name, value in values.items()})
    args, config = argparse.Namespace(), {"s": {"h": 1}}
    override(overrides.text(), args, config)
    assert args.device == evil and config == {"s": {"h": 1, **values}} == overrides.apply({"s": {"h": 1}})
    again = read_overrides(f"config.s.a={evil}")
    override(again.text(), args, config)
    assert config["s"]["a"] == evil


def test_the_flags_are_those_of_s3prls_own_parsers() -> None:
    assert {"mode", "upstream_ckpt", "downstream", "seed"} <= script_flags("run_downstream.py")
    assert script_flags("run_pretrain.py") >= {"upstream_config", "multi_gpu"} and "mode" not in script_flags(
        "run_pretrain.py"
    )
