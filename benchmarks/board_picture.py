"""Writes docs/board.png, the picture of `gendistiller board` in the README: the top of the page, and a chart of it.

python benchmarks/board_picture.py result/superb result/references --compare mine --out docs/board.png

It needs the extra `board`, selenium, and Chromium with its driver (Debian: chromium, chromium-driver).
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from kit.browser import chromium, open_page, resize
from s3prl_gendistiller.cli.launch import guarded
from s3prl_gendistiller.superb.board.page import board
from s3prl_gendistiller.superb.board.suites import read_suites

WIDTH, TABLE, GAP = 1200, 790, 12
"""Pixels: width of the picture, height of the page's top in it, and room before the chart."""


def run(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--compare")
    parser.add_argument("--out", type=Path, default=Path("docs/board.png"))
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, chromium(WIDTH, TABLE) as driver:
        page = Path(folder, "board.html")
        page.write_text(board(read_suites(args.results), args.compare), encoding="utf-8")
        open_page(driver, page)
        top = _shot(driver)
        chart = driver.find_element("xpath", "(//section[@id='sizes']//figure)[last()]")
        resize(driver, WIDTH, 2 * TABLE)
        driver.execute_script("arguments[0].scrollIntoView()", chart)
        box = driver.execute_script("const b = arguments[0].getBoundingClientRect(); return [b.top, b.bottom]", chart)
        below = _shot(driver).crop((0, int(box[0]), WIDTH, int(box[1]) + 1))
    whole = Image.new("RGB", (WIDTH, TABLE + GAP + below.height), top.getpixel((0, 0)))
    whole.paste(top, (0, 0))
    whole.paste(below, (0, TABLE + GAP))
    whole.quantize(128).save(args.out, optimize=True)
    print(f"{args.out}: {args.out.stat().st_size:,} bytes")
    return 0


def _shot(driver: Any) -> Image.Image:
    return Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")


if __name__ == "__main__":
    sys.exit(guarded(run, None))
