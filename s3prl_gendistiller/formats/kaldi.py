"""Tables of lines NAME REST: Kaldi's segments, utt2spk, reco2dur and wav.scp, and files of transcripts."""

from __future__ import annotations

from pathlib import Path

from s3prl_gendistiller.formats.lists import full_lines


def read_table(path: Path, separator: str | None = None) -> list[tuple[str, str]]:
    """The name and the rest of each line.

    Args:
        separator: between name and rest; None for any white space. Transcripts of LibriSpeech (.trans.txt) and of
            SNIPS have one space there.

    Raises:
        UserError: as `read_text`.
    """
    rows = (line.strip().split(separator, 1) for line in full_lines(path))
    return [(row[0], row[1].strip() if len(row) > 1 else "") for row in rows]
