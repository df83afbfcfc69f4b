#!/usr/bin/env python3
"""Makes the golden files: per family tiny random checkpoints and what PyTorch computes with them.

    python scripts/golden.py                          # all, under tests/golden/
    python scripts/golden.py --family llama --case yarn
    python scripts/golden.py --check                  # remakes into a temporary folder and compares

Every checkpoint is in the Hugging Face layout, made from a fixed seed by the pinned transformers (see
requirements.txt), with weights large enough that attention is far from uniform and every part matters.
Most are stored as bf16 (and computed in f32, which is exact), some as f32 or f16. tests/golden/README.md
says what the files hold.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors import safe_open

from golden_cases import CASES, Case
from golden_gguf import GGUF_CASES, make_blocks, make_gguf
from golden_make import make
from golden_moe import MOE_CASES
from golden_more import MORE_CASES

ROOT = Path(__file__).resolve().parent.parent / "tests" / "golden"


def emptied(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    return folder


def compare(old: Path, new: Path) -> str:
    """'' if the files are the same, else what differs; rounding of another processor is said to be that."""
    if not old.exists() or not new.exists():
        return "not committed" if new.exists() else "no longer made"
    if old.read_bytes() == new.read_bytes():
        return ""
    if old.suffix != ".safetensors":
        return "DIFFERENT"
    with safe_open(old, "pt") as a, safe_open(new, "pt") as b:
        if set(a.keys()) != set(b.keys()):
            return "DIFFERENT tensors"
        if a.metadata() != b.metadata():
            return "DIFFERENT metadata"
        worst = 0.0
        for name in a.keys():
            x, y = a.get_tensor(name), b.get_tensor(name)
            if x.shape != y.shape or x.dtype != y.dtype:
                return f"DIFFERENT shape or dtype of {name}"
            off = (x.double() - y.double()).abs().nan_to_num(0.0).max().item()  # -inf in both
            worst = max(worst, off)
    return f"rounding: {worst:.1e}" if worst < 1e-4 and "model" not in old.name else f"DIFFERENT by {worst:.1e}"


def check(cases) -> int:
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        for family, case, make in cases:
            folder = Path(temporary) / family / case.name
            make(family, case, emptied(folder))
            committed = ROOT / family / case.name
            names = {p.name for p in folder.iterdir()} | {p.name for p in committed.glob("*")}
            for name in sorted(names):
                if said := compare(committed / name, folder / name):
                    print(f"  {name}: {said}")
                    failed += not said.startswith("rounding")
    print("no difference" if not failed else f"{failed} files differ")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--family")
    parser.add_argument("--case")
    parser.add_argument("--check", action="store_true", help="remake elsewhere and compare; exit 1 if any differs")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    makers = [(family, case, make) for family, listed in (CASES | MORE_CASES | MOE_CASES).items() for case in listed]
    makers += [("gguf", case, make_gguf) for case in GGUF_CASES] + [("gguf", Case("blocks", {}), make_blocks)]
    cases = [
        (family, case, maker)
        for family, case, maker in makers
        if args.family in (None, family) and args.case in (None, case.name)
    ]
    if not cases:
        parser.error("no such case")
    if args.check:
        sys.exit(check(cases))
    for family, case, maker in cases:
        maker(family, case, emptied(ROOT / family / case.name))


if __name__ == "__main__":
    main()
