#!/usr/bin/env python3
"""The figures and samples of models/stories/README.md. Standard library only.

    scripts/model_card.py ../stories [--model FOLDER] [--documents N]

The corpus is the one that scripts/stories.py grew, the model the one inside the binary unless one
is named. Losses are nats a token (the end of a story left out) over 150 stories of each kind; for
100 stories from "Once upon a time" the longest run of words shared with the documents trained on,
and the same of 100 stories of the corpus that were not; then how often "a boy called Diego." goes
on with his pronoun and not hers, for every name of the grammar's; then ten samples, seeds 1 to 10.
"""

import argparse
import itertools
import json
import re
import subprocess
import tempfile
from pathlib import Path

from copied import longest, told
from stories_data.grammar import Library

ROOT = Path(__file__).resolve().parent.parent
STORIES, COPIES = 150, 100
PROMPT = "Once upon a time"


def texts(path, first, count):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in itertools.islice(lines, first, first + count)]


def taper(args, command, *more):
    model = ["-m", args.model] if args.model else []
    run = [args.taper, command, "-q", *model, *map(str, more)]
    return subprocess.run(run, capture_output=True, text=True, check=True).stdout


def loss(args, stories):
    """Nats a token over all of them."""
    total = count = 0
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        for story in stories:
            file.seek(0)
            file.truncate()
            file.write(story)
            file.flush()
            summary = json.loads(taper(args, "score", "--format", "jsonl", "--summary", file.name).splitlines()[-1])
            total += summary["nll"] * summary["predicted"]
            count += summary["predicted"]
    return total / count


def copied(args, stories):
    words = [story.split() for story in stories]
    return told(longest(args.corpus / "train.jsonl", words, args.documents), words)


def pronouns(args):
    """Of what follows a new boy's or girl's name, how much is the right pronoun of the two."""
    names, first = Library().words, [("boy", "boys", 0), ("girl", "girls", 1)]
    right = count = 0
    said = re.compile(r"\b(?:(he|his|him)|(she|her))\b", re.I)
    for kind, words, gender in first:
        for seed, name in enumerate(names[words], 1):
            prompt = f"{PROMPT}, there was a {kind} called {name}."
            found = said.search(taper(args, "generate", "--seed", seed, "--max-tokens", 40, prompt))
            if found:
                right += found[gender + 1] is not None
                count += 1
    return f"{right} of {count}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--model", help="default: the one inside the binary")
    parser.add_argument("--documents", type=int, default=96000, help="stories that were trained on")
    parser.add_argument("--taper", default=ROOT / "target/release/taper")
    args = parser.parse_args()

    unseen = texts(args.corpus / "train.jsonl", args.documents, STORIES)
    print(f"seen {loss(args, texts(args.corpus / 'train.jsonl', 0, STORIES)):.3f}")
    print(f"unseen {loss(args, unseen):.3f}")
    for name in ["valid_wordings", "valid_plots"]:
        print(f"{name} {loss(args, texts(args.corpus / f'{name}.jsonl', 0, STORIES)):.3f}")
    tell = lambda seed: taper(args, "generate", "--echo", "--seed", seed, PROMPT)
    stories = [tell(seed) for seed in range(1, COPIES + 1)]
    print("copied, of generated stories:", copied(args, stories))
    print("copied, of unseen stories:", copied(args, unseen[:COPIES]))
    print("first pronoun after a boy's or girl's name that is theirs:", pronouns(args))
    for number, story in enumerate(stories[:10], 1):
        print(f"\n**{number}.** {story.strip()}")


if __name__ == "__main__":
    main()
