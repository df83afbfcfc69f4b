#!/usr/bin/env python3
"""Perplexity of quantised SmolLM2 by taper and by llama.cpp, from the same files, tokens and windows.

    scripts/bench_perplexity.py wiki.test.raw [--tokens 20000] [--formats Q8_0,Q4_0,Q4_K_M] [--readme]

Needs what scripts/bench_peers.py builds and makes. llama-perplexity cuts a text into windows of 512 tokens
and counts the second half of each, from the first half's end on; taper scores the same windows, and the
same tokens are counted here. Fails where taper's figure is more than half a percent above llama.cpp's.
"""

import argparse
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import bench_peers as peers

WINDOW = 512


def by_llama(form, text, windows):
    command = [peers.LLAMA / "llama-perplexity", "-m", peers.gguf(peers.SMOL, form), "-f", text]
    command += ["-c", WINDOW, "-b", WINDOW, "--chunks", windows, "-t", peers.CORES]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    found = re.search(r"Final estimate: PPL = ([\d.]+)", result.stdout + result.stderr)
    if not found:
        sys.exit(f"error: llama-perplexity says no perplexity\n{result.stderr[-2000:]}")
    return float(found[1])


def by_taper(model, text, windows):
    command = [peers.Taper.binary, "score", "-q", *model, "--window", WINDOW, "--stride", WINDOW]
    out = peers.run([*command, "--max-tokens", windows * WINDOW, "--format", "jsonl", text])
    *tokens, _ = map(json.loads, out.splitlines())
    if len(tokens) != windows * WINDOW:
        sys.exit(f"error: {len(tokens)} tokens where {windows * WINDOW} were asked for")
    counted = [token["logprob"] for at, token in enumerate(tokens) if at % WINDOW > WINDOW // 2]
    return math.exp(-sum(counted) / len(counted))


def own_roundings(text, windows, found):
    """What taper's own ways to round cost: weights on load, keys and values in the cache."""
    bits = [(f"bf16, `--quantize {bits}`", ["--quantize", bits], form) for bits, form in [("q8", "Q8_0"), ("q4", "Q4_0")]]
    kept = [(f"bf16, `--kv-dtype {dtype}`", ["--kv-dtype", dtype], "bf16") for dtype in ["f16", "bf16", "q8"]]
    for name, flags, form in bits + kept:
        own = by_taper(["-m", peers.folder(peers.SMOL, "bf16"), *flags], text, windows)
        beside = f"{100 * (own / found[form] - 1):+.3f} % of {form}" if form in found else "–"
        yield f"| {name} | {own:.4f} | – | {beside} |"


def lines(args, windows):
    """The table's lines as they are measured, and at last by how much taper is worse at most."""
    worst, found = 0.0, {}
    yield f"| {windows} windows of {WINDOW} tokens | taper | llama.cpp | difference |\n|---|---|---|---|"
    for form in args.formats.split(","):
        peers.quantise(peers.SMOL, peers.gguf(peers.SMOL, "f32"), [form])
        own = by_taper(["-m", peers.gguf(peers.SMOL, form)], args.text, windows)
        other = by_llama(form, args.text, windows)
        worst = max(worst, own / other - 1)
        found[form] = own
        yield f"| {form} | {own:.4f} | {other:.4f} | {100 * (own / other - 1):+.3f} % |"
    yield from own_roundings(args.text, windows, found)
    if worst > 0.005:
        sys.exit(f"error: {100 * worst:.2f} % above llama.cpp")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--tokens", type=int, default=20000)
    parser.add_argument("--formats", default="f32,bf16,Q8_0,Q4_0,Q4_K_M,Q4_1,Q5_K_M,Q6_K")
    parser.add_argument("--taper", type=Path, default=peers.TAPER, help="default: %(default)s")
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    args = parser.parse_args()
    peers.Taper.binary = args.taper
    table = []
    for line in lines(args, args.tokens // WINDOW):
        print(line, flush=True)
        table.append(line)
    if args.readme:
        peers.into_readme(peers.block("perplexity"), "\n".join(table))


if __name__ == "__main__":
    main()
