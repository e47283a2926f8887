"""The way from a corpus's source to its layout, as a text that bash can run: facts stand in comments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from s3prl_gendistiller.superb.corpus.source import Source, in_words
from s3prl_gendistiller.superb.tasks import Task

ARCHIVES = "ARCHIVES"
"""The variable of the folder of archives in all commands."""
PREFACE = (
    f"# {ARCHIVES} and SUPERB_DATA are two folders, for the archives and for the corpora",
    f'mkdir -p "${{{ARCHIVES}:?}}" "${{SUPERB_DATA:?}}"',
)
"""The lines before the first corpus."""
_WIDTH = 110


def by_source(tasks: Sequence[Task]) -> dict[Source, list[Task]]:
    """The tasks by the source of their corpus, in the order of the tasks."""
    found: dict[Source, list[Task]] = {}
    for task in tasks:
        found.setdefault(task.corpus.source, []).append(task)
    return found


def total_in_words(source: Source) -> str:
    """The size of all archives together where every size is known; else empty."""
    sizes = [archive.size for archive in source.archives if archive.size is not None]
    return in_words(sum(sizes)) if sizes and len(sizes) == len(source.archives) else ""


def instructions(source: Source, tasks: Sequence[Task]) -> Iterator[str]:
    """The lines for one corpus: facts, then the commands to get, compare and lay out its archives.

    Args:
        tasks: the tasks that read the corpus.
    """
    corpus = tasks[0].corpus
    yield f"# {corpus.name}, for {', '.join(task.name.upper() for task in tasks)}"
    yield from _comment(f"source: {source.home}; {source.page or 'page not known'}")
    yield from _comment(f"licence: {source.licence or 'see access'}; access: {source.access}")
    if parts := ", ".join(_part(name, part.files, part.hours) for name, part in corpus.parts.items()):
        yield from _comment(f"expected: {parts}")
    for archive in source.archives:
        checksum = f"{archive.algorithm.upper()} below" if archive.checksum else "checksum not known"
        yield from _comment(f"archive: {archive.name}, {archive.size_in_words}, {checksum}")
    for archive in source.others:
        checksum = f"{archive.algorithm.upper()} {archive.checksum}" if archive.checksum else "checksum not known"
        yield from _comment(f"in its place: {archive.name} ({archive.url}), {archive.size_in_words}, {checksum}")
    for note in source.notes:
        yield from _comment(note)
    yield from _comment(f"facts from: {source.facts}")
    yield from _getting(source)
    yield from _comparing(source)
    if source.steps:
        yield "# lay out"
        yield from source.steps
    if source.lists:
        yield "# write missing lists, and compare with what is published"
        yield f"gendistiller data check {source.lists}"


def _part(name: str, files: int, hours: float | None) -> str:
    return f"{name} {files:,} files" + ("" if hours is None else f" of {hours:g} h")


def _comment(text: str) -> list[str]:
    wrapper = textwrap.TextWrapper(_WIDTH, "# ", "#   ", break_long_words=False, break_on_hyphens=False)
    return wrapper.wrap(text)


def _getting(source: Source) -> Iterator[str]:
    known = [archive for archive in source.archives if archive.url]
    if known or source.checkouts:
        yield "# get; nothing is downloaded unless you run these lines"
    for archive in known:
        yield f'wget -c -O "${ARCHIVES}/{archive.name}" "{archive.url}"'
    for address in source.checkouts:
        folder = address.rpartition("/")[2].removesuffix(".git")
        yield f'test -d "${ARCHIVES}/{folder}" || git clone {address} "${ARCHIVES}/{folder}"'


def _comparing(source: Source) -> Iterator[str]:
    """One command for each algorithm, which reads the checksums from its standard input."""
    for algorithm in ("md5", "sha256"):
        if chosen := [archive for archive in source.archives if archive.algorithm == algorithm]:
            yield f'# compare ({algorithm.upper()}); or: gendistiller data verify "${ARCHIVES}"'
            yield f'(cd "${ARCHIVES}" && {algorithm}sum -c) <<END'
            yield from (f"{archive.checksum}  {archive.name}" for archive in chosen)
            yield "END"
