from __future__ import annotations

from s3prl_gendistiller.errors import ConfigError, UserError


def test_what_a_message_quotes_cannot_command_a_terminal() -> None:
    assert str(UserError("found \x1b[2J\x07 and \u202e in é/ü\n  next line")) == (
        "found \\x1b[2J\\x07 and \\u202e in é/ü\n  next line"
    )
    assert "\x1b" not in str(ConfigError("a.yaml", ["\x1b[31m: unknown key"]))
