#!/usr/bin/env python3
"""Grows a corpus of children's stories from a grammar: no text is downloaded or copied.

    scripts/stories.py                                a story; --seed S another, --count N several
    scripts/stories.py --count 300000 --seed 1 --out DIR
        writes train.jsonl and valid.jsonl ({"text": ...} a line); valid.jsonl is valid_plots.jsonl
        (plots that training never sees) and valid_wordings.jsonl (wordings and pairs of name and
        thing that training never sees) together; portraits.jsonl, a tenth as many, tells who
        somebody is and of nothing that happens: which name goes with which pronoun
    scripts/stories.py --report [--count N]           how many are distinct, how varied they are
    scripts/stories.py --check [--count N]            grammar checks; fails on any fault

Python's standard library only; the same seed gives the same stories everywhere. The grammar is in
stories_data/, explained in docs/stories.md.
"""

import argparse
import collections
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from stories_data.check import faults, overlooked  # noqa: E402
from stories_data.grammar import Library, Portrait, Teller  # noqa: E402

SPLITS = ("train", "plots", "wordings")


def stories(library, count, seed, split, kind=Teller):
    """`count` distinct stories of a split, and how many drawn ones were left out as repeats."""
    name = split if kind is Teller else f"portrait {split}"
    seen, number = set(), 0
    while len(seen) < count:
        text = kind(library, f"{seed} {name} {number}", split).tell()
        number += 1
        if hash(text) not in seen:
            seen.add(hash(text))
            yield text, number - len(seen)
        elif number > 20 * count + 1000:
            raise SystemExit(f"{split}: no more than {len(seen)} distinct stories")


def write(library, args):
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    held = args.valid if args.valid is not None else max(1, min(2000, args.count // 100))
    both = []
    for split in SPLITS:
        name = "train" if split == "train" else f"valid_{split}"
        count = args.count if split == "train" else held
        lines, repeats = [], 0
        with open(out / f"{name}.jsonl", "w", encoding="utf-8") as file:
            for text, repeats in stories(library, count, args.seed, split):
                line = json.dumps({"text": text}) + "\n"
                file.write(line)
                if split != "train":
                    both.append(line)
        print(f"{name}.jsonl: {count} distinct stories, {repeats} repeats left out")
    count, repeats = max(1, args.count // 10), 0
    with open(out / "portraits.jsonl", "w", encoding="utf-8") as file:
        for text, repeats in stories(library, count, args.seed, "train", Portrait):
            file.write(json.dumps({"text": text}) + "\n")
    print(f"portraits.jsonl: {count} distinct portraits, {repeats} repeats left out")
    (out / "valid.jsonl").write_text("".join(both), encoding="utf-8")
    print(f"valid.jsonl: {len(both)} stories")


def report(library, args):
    """Figures on the training split."""
    texts, repeats = [], 0
    for text, repeats in stories(library, args.count, args.seed, "train"):
        texts.append(text)
    lengths = sorted(len(text.split()) for text in texts)
    names = {n for key in ("girls", "boys", "pet_names") for n in library.words[key]}
    vocabulary = collections.Counter()
    grams, openings, total = set(), set(), 0
    for text in texts:
        words = "".join(c if c.isalnum() or c == "'" else " " for c in text).split()
        vocabulary.update(w.lower() for w in words if w not in names)
        openings.add(" ".join(words[:8]))
        for at in range(len(words) - 7):
            grams.add(hash(tuple(words[at : at + 8])))
            total += 1
    common = [w for w, n in vocabulary.items() if n * 2000 >= len(texts)]
    wordings = sum(len(beat.lines) for plot in library.plots for beat in plot.beats)
    rules = sum(len(lines) for lines in library.rules.values())
    print(f"plots: {len(library.plots)}, of which {len(library.held_plots)} only for validation")
    print(f"wordings of beats: {wordings}; of rules: {rules}; templates with inner choices each")
    print(f"stories: {len(texts)} distinct of {len(texts) + repeats} drawn")
    print(f"words: {sum(lengths)}; a story has {lengths[len(lengths) // 20]} (5 %), "
          f"{lengths[len(lengths) // 2]} (half), {lengths[len(lengths) * 19 // 20]} (95 %), at most {lengths[-1]}")
    print(f"vocabulary: {len(common)} words in at least one story of 2000, {len(names)} listed names aside")
    print(f"8-grams: {total}, of which {100 * (1 - len(grams) / total):.1f} % occurred before")
    print(f"openings: {len(openings)} different first eight words")


def check(library, args):
    """Every plot, in both kinds of validation and in training; exits with 1 on a fault."""
    blind = overlooked(Teller(library, "planted", "train"))
    print("".join(f"{line}\n" for line in blind), end="")
    bad, told = len(blind), collections.Counter()
    for number in range(args.count):
        split = ("train", "train", "plots", "wordings")[number % 4]
        kind = Portrait if number % 12 == 0 else Teller
        teller = kind(library, f"check {args.seed} {number}", split)
        text = teller.tell()
        told[teller.plot.name] += kind is Teller
        for fault in faults(teller, text):
            bad += 1
            if bad <= args.show:
                print(f"{teller.plot.name}: {fault}")
    silent = {plot.name for plot in library.plots} - set(told)
    if silent and args.count >= 1000:
        bad += 1
        print(f"never told: {sorted(silent)}")
    print(f"{args.count} stories of {len(told)} plots: {bad} faults")
    return 1 if bad else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, help="how many stories (1; --report 20000, --check 2000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", help="the folder to write to")
    parser.add_argument("--valid", type=int, help="how many stories in each validation file")
    parser.add_argument("--plot", help="print stories of this plot only")
    parser.add_argument("--split", choices=SPLITS, default="train", help="which split to print from")
    parser.add_argument("--show", type=int, default=40, help="how many faults --check prints")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    library = Library()
    args.count = args.count or (2000 if args.check else 20000 if args.report else 1)
    if args.check:
        return check(library, args)
    if args.report:
        return report(library, args)
    if args.out:
        return write(library, args)
    plots = {plot.name: plot for plot in library.plots}
    if args.plot and args.plot not in plots:
        parser.error(f"no plot {args.plot!r}; there are: {', '.join(plots)}")
    for number in range(args.count):
        teller = Teller(library, f"{args.seed} print {number}", args.split, plots.get(args.plot))
        print(("\n" if number else "") + teller.tell())
    return 0


if __name__ == "__main__":
    sys.exit(main())
