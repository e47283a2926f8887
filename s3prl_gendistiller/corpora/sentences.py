"""Sentences from a small grammar, in LibriSpeech's spelling: A to Z, apostrophe and space."""

from __future__ import annotations

import random
from collections.abc import Iterator

from s3prl_gendistiller.corpora.vocabulary import PLAIN, Vocabulary

_DETERMINERS = ("the", "a", "my", "your", "every", "another", "this", "our")
_JOINTS = ("that", "an")


def sentences(seed: int | str, vocabulary: Vocabulary = PLAIN) -> Iterator[str]:
    """Endless stream of different sentences, always the same for a seed and a vocabulary."""
    grammar = _Grammar(random.Random(f"sentences/{seed}"), vocabulary)
    said: set[str] = set()
    forms = (grammar.statement, grammar.opened, grammar.owned, grammar.doubted)
    while True:
        sentence = grammar.rng.choice(forms)().upper()
        if sentence not in said:
            said.add(sentence)
            yield sentence


def words(vocabulary: Vocabulary) -> set[str]:
    """Every word that the sentences may use, in capitals."""
    phrases = [phrase for group in vocabulary for phrase in group]
    owners = [f"{person}'s" for person in vocabulary.people]
    return {word.upper() for phrase in (*phrases, *owners, *_DETERMINERS, *_JOINTS) for word in phrase.split()}


class _Grammar:
    def __init__(self, rng: random.Random, vocabulary: Vocabulary) -> None:
        self.rng = rng
        self.words = vocabulary

    def statement(self) -> str:
        return f"{self._someone()} {self._one(self.words.deeds)} {self._something()} {self._one(self.words.places)}"

    def opened(self) -> str:
        opening = self._one(self.words.openings)
        return f"{opening} {self._someone()} {self._one(self.words.deeds)} {self._something()}"

    def owned(self) -> str:
        owner = f"the {self._one(self.words.people)}'s"
        owned = f"{owner} {self._one(self.words.adjectives)} {self._one(self.words.things)}"
        return f"{self._someone()} {self._one(self.words.deeds)} {owned}"

    def doubted(self) -> str:
        deed = f"{self._someone()} {self._one(self.words.deeds)} {self._something()}"
        return f"{self._someone()} {self._one(self.words.doubts)} that {deed}"

    def _someone(self) -> str:
        return self._phrase(self.words.people)

    def _something(self) -> str:
        return self._phrase(self.words.things)

    def _phrase(self, nouns: tuple[str, ...]) -> str:
        words = [self._one(nouns)]
        if self.rng.random() < 0.4:
            words.insert(0, self._one(self.words.adjectives))
        determiner = self._one(_DETERMINERS)
        if determiner == "a" and words[0][0] in "aeiou":
            determiner = "an"
        return " ".join([determiner, *words])

    def _one(self, choices: tuple[str, ...]) -> str:
        return self.rng.choice(choices)
