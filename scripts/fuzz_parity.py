#!/usr/bin/env python3
"""Random models: transformers makes the truth, taper compares.

    python scripts/fuzz_parity.py                          # 5 of each family
    python scripts/fuzz_parity.py --runs 200 --family llama --family qwen3
    python scripts/fuzz_parity.py --seed 17 --keep failed  # what failed stays, to look at

Each run draws a valid config (scripts/fuzz_cases.py says from what), gives it random weights in a temporary
folder, traces a random prompt, and has `taper compare` judge every site and the greedy continuation. It ends
with how many were run and how many passed, per family; the exit code is 1 where one did not.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers

import reference
from fuzz_cases import FUZZ
from golden_make import STORED, randomise

ROOT = Path(__file__).resolve().parent.parent


def drawn(family: str, rng: random.Random) -> dict:
    config = {}
    for key, values in FUZZ[family].items():
        value = values(rng, config) if callable(values) else rng.choice(values)
        config |= value if callable(values) and isinstance(value, dict) else {key: value}
    return config


def make(family: str, config: dict, folder: Path, name: str, rng: random.Random):
    """A checkpoint and its reference."""
    kind = transformers.AutoConfig.for_model(family, **config)
    model = transformers.AutoModelForCausalLM.from_config(kind, dtype=torch.float32).eval()
    stored = STORED[rng.choice(["f32", "bf16", "f16"])]
    randomise(model, ("fuzz", name), stored)
    model.to(stored).save_pretrained(folder)
    model = reference.load(folder)
    length = rng.choice([1, 2, 7, 12, 20])
    vocab = model.config.get_text_config().vocab_size
    ids = torch.tensor([[rng.randrange(vocab) for _ in range(length)]])
    _, trace, _ = reference.traced(folder, "f32", ids)
    meta = reference.metadata(folder, model, "f32")
    # Where rotations depend on the length, a cache keeps keys as they were rotated; the trace has none.
    meta["greedy"] = json.dumps(reference.greedy(model, ids, 6))
    reference.save(trace, folder / "reference.safetensors", meta)


def judged(taper: str, folder: Path) -> str:
    """'' where taper finds no difference, else what it says."""
    command = [taper, "compare", "-q", "-m", str(folder), "--reference", str(folder / "reference.safetensors")]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode == 0 and ran.stdout.endswith("verdict: equal\n"):
        return ""
    told = [line for line in ran.stdout.splitlines() if line.startswith(("first", "why", "greedy", "verdict", "never"))]
    return "; ".join([*told, ran.stderr.strip()])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="of each family (5)")
    parser.add_argument("--family", action="append", choices=FUZZ)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="copy what failed here")
    parser.add_argument("--taper", default=str(ROOT / "target" / "debug" / "taper"))
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    failed = 0
    for family in args.family or FUZZ:
        passed = 0
        for run in range(args.runs):
            name = f"{family}-{args.seed}-{run}"
            rng = random.Random(name)
            config = drawn(family, rng)
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                make(family, config, folder, name, rng)
                problem = judged(args.taper, folder)
                if problem and args.keep:
                    shutil.copytree(folder, args.keep / name, dirs_exist_ok=True)
            passed += not problem
            if problem:
                print(f"{name}: {problem}\n  {json.dumps(config)}", file=sys.stderr)
        failed += args.runs - passed
        print(f"{family:<16} {passed} of {args.runs} passed", flush=True)
    print(f"{args.runs * len(args.family or FUZZ) - failed} of {args.runs * len(args.family or FUZZ)} passed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
