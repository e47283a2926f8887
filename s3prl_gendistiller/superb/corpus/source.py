"""The source of a corpus: its home, licence and archives, and the steps from archive to layout.

`origins` holds the facts of each corpus, `instructions` prints them, and `verify` compares archives with checksums.
"""

from __future__ import annotations

from dataclasses import dataclass

GIGABYTE = 10**9
_ALGORITHMS = {0: "", 32: "md5", 64: "sha256"}
"""Algorithm by number of hexadecimal digits."""


def in_words(size: int) -> str:
    """A number of bytes in GB, a small one in MB."""
    return f"{size / GIGABYTE:.2f} GB" if size >= GIGABYTE / 10 else f"{size / 10**6:.0f} MB"


@dataclass(frozen=True)
class Archive:
    """One file of a corpus as it is published.

    Attributes:
        url: address of the file; empty where the home gives an address to each user, or only after a form.
        size: bytes; None where they are not known.
        about: size in words, where the bytes are not known.
        checksum: hexadecimal digits of MD5 (32) or SHA-256 (64); empty where no checksum is known.
    """

    name: str
    url: str = ""
    size: int | None = None
    about: str = ""
    checksum: str = ""

    @property
    def algorithm(self) -> str:
        """ "md5" or "sha256"; empty without a checksum."""
        return _ALGORITHMS[len(self.checksum)]

    @property
    def size_in_words(self) -> str:
        if self.size is None:
            return f"about {self.about}" if self.about else "size not known"
        return in_words(self.size)


@dataclass(frozen=True)
class Source:
    """Where a corpus comes from, and what to do with its archives.

    Attributes:
        home: the publisher in words.
        licence: the licence in words; empty where none is stated.
        page: address of the official page.
        access: what the publisher asks of a user before the download.
        archives: the files to get.
        others: files that hold the same data in another form, and take the place of `archives`.
        checkouts: addresses of git repositories whose checkouts the steps read, as folders below ``$ARCHIVES``.
        steps: commands of bash from ``$ARCHIVES`` to the layout below ``$SUPERB_DATA``.
        lists: flags of ``gendistiller data check`` that write the lists beside the audio.
        notes: other ways, dead addresses and other facts, one sentence or two each.
        facts: where the facts come from.
    """

    home: str
    licence: str = ""
    page: str = ""
    access: str = "not known"
    archives: tuple[Archive, ...] = ()
    others: tuple[Archive, ...] = ()
    checkouts: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    lists: str = ""
    notes: tuple[str, ...] = ()
    facts: str = "not known"

    @property
    def where(self) -> str:
        """Home and licence, for a table."""
        return f"{self.home} ({self.licence})" if self.licence else self.home
