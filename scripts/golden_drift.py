#!/usr/bin/env python3
"""Writes each golden case's drift.json: how far PyTorch's own 16-bit run is from its f32 run.

    python scripts/golden_drift.py                    # every case that has none yet
    python scripts/golden_drift.py --all              # every case
    python scripts/golden_drift.py tests/golden/llama/yarn

One number a site, its largest over the layers, of the largest difference and of the typical position's mean
difference (the median over positions, for a token that goes to another expert is no matter of rounding):
`{dtype: {site: [max, mean]}}`, over 48 prompts, for one is too much a matter of luck: the ids of the case's
reference.safetensors, turned by 0 to 47 places and the same number added to each, modulo the vocabulary. tests/parity.rs holds taper's 16-bit runs to 1.5 times that.
"""

import argparse
import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file

import reference

PROMPTS = 48
ROOT = Path(__file__).resolve().parent.parent / "tests" / "golden"


def typical(narrow: dict, wide: dict) -> dict:
    """Per site the largest difference, and the median over positions of the mean."""

    def apart(a, b):
        off = torch.where(a == b, 0.0, (a.double() - b.double()).abs())
        rows = off.transpose(1, 2) if off.ndim == 4 else off  # the position comes second
        each = rows.flatten(0, 1).flatten(1).mean(-1)
        return [float(f"{x:.3e}") for x in (off.max().item(), each.median().item())]

    return {name: apart(x, wide[name]) for name, x in narrow.items() if name != "ids"}


def by_site(drift: dict) -> dict:
    """One entry a site instead of one a layer and site."""
    found = {}
    for name, numbers in drift.items():
        site = name.rsplit(".", 1)[-1]
        found[site] = [max(pair) for pair in zip(numbers, found.get(site, [0.0, 0.0]))]
    return {site: found[site] for site in reference.SITES if site in found}


def traces(folder: Path, dtype: str) -> dict:
    """The traces of all prompts, one after the other along the batch axis."""
    found = load_file(folder / "reference.safetensors")
    ids, vocab = found["ids"], found["logits"].shape[-1]
    prompts = [(ids.roll(-turn, 1) + turn) % vocab for turn in range(PROMPTS)]
    # One prompt at a time, each with a model of its own: rotary modules with dynamic scaling remember lengths.
    each = [reference.traced(folder, dtype, prompt, False)[1] for prompt in prompts]
    return {name: torch.cat([trace[name] for trace in each]) for name in each[0]}


def loads(folder: Path) -> bool:
    """Can transformers load a case as it is stored? Not MXFP4 on a CPU, nor a family that it lacks."""
    config = json.loads((folder / "config.json").read_text())
    return "quantization_config" not in config and config["model_type"] in transformers.CONFIG_MAPPING


def write(folder: Path):
    if not loads(folder):
        return
    wide = traces(folder, "f32")
    drifts = {dtype: by_site(typical(traces(folder, dtype), wide)) for dtype in ("bf16", "f16")}
    text = json.dumps(drifts).replace('"f16"', '\n"f16"').replace('"bf16"', '\n"bf16"').replace("}}", "}\n}")
    (folder / "drift.json").write_text(text + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", type=Path)
    parser.add_argument("--all", action="store_true")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    cases = args.cases or sorted(path.parent for path in ROOT.glob("*/*/config.json"))
    for folder in cases:
        if args.all or args.cases or not (folder / "drift.json").exists():
            write(folder)
            print(f"{folder.parent.name}/{folder.name}")


if __name__ == "__main__":
    main()
