#!/usr/bin/env python3
"""How much of generated text is copied: the longest run of words that each text shares with the
training data. Standard library only.

    scripts/copied.py TRAIN.jsonl TEXTS.jsonl [--documents N]

Both files have a `text` a line. A corpus grown from a grammar repeats its own sentences, so a story
of the corpus that training did not see is the measure to hold the figures against.
"""

import argparse
import itertools
import json
import statistics

SEED = 6  # words: shorter runs are everywhere


def texts(path, limit=None):
    with open(path, encoding="utf-8") as lines:
        for line in itertools.islice(lines, limit):
            yield json.loads(line)["text"].split()


def longest(train, generated, limit):
    """For each generated text the longest run of words found in one training text."""
    starts = {}
    for index, words in enumerate(generated):
        for at in range(len(words) - SEED + 1):
            starts.setdefault(tuple(words[at : at + SEED]), []).append((index, at))
    best = [(0, "")] * len(generated)
    for words in texts(train, limit):
        for at in range(len(words) - SEED + 1):
            for index, start in starts.get(tuple(words[at : at + SEED]), ()):
                mine, length = generated[index], SEED
                while (
                    start + length < len(mine)
                    and at + length < len(words)
                    and mine[start + length] == words[at + length]
                ):
                    length += 1
                if length > best[index][0]:
                    best[index] = (length, " ".join(mine[start : start + length]))
    return best


def told(found, generated):
    """What `longest` found, in figures."""
    lengths = [length for length, _ in found]
    share = sum(length / max(len(words), 1) for length, words in zip(lengths, generated)) / len(generated)
    return f"{max(lengths)} words, half of the texts at most {statistics.median(lengths):.0f}, {share:.0%}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("texts")
    parser.add_argument("--documents", type=int, help="only the first N texts of the training data")
    args = parser.parse_args()
    generated = list(texts(args.texts))
    found = longest(args.train, generated, args.documents)
    print(f"{len(generated)} texts: longest copied run {told(found, generated)} of a text on average")
    print("the longest:", max(found)[1])


if __name__ == "__main__":
    main()
