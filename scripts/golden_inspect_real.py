#!/usr/bin/env python3
"""Makes tests/golden/inspect_real.json: what transformers finds inside two real checkpoints, eager attention
in f32. Of every layer's q, k, v, pattern and z: the norm (of each head's pattern its own), and some entries
that a formula chooses; of the logit lens, some logits after every layer.

    python scripts/golden_inspect_real.py stories260K=FOLDER SmolLM2-135M=FOLDER           # writes it
    python scripts/golden_inspect_real.py --check stories260K=FOLDER SmolLM2-135M=FOLDER   # compares to 1e-6

The whole tensors would be megabytes; these samples are kilobytes.
"""

import argparse
import json
from pathlib import Path

import torch
from golden_inspect import close, rounded
from transformers import AutoModelForCausalLM, AutoTokenizer

OUT = Path(__file__).resolve().parent.parent / "tests" / "golden" / "inspect_real.json"
TEXT = {
    "stories260K": "Once upon a time, there was a little girl named Lily. She loved to play outside",
    "SmolLM2-135M": "The animal did not cross the street because it was too tired, and the animal did not",
}
SITES = ["q", "k", "v", "pattern", "z"]
SAMPLES = 6
LENS = 8


def chosen(layer: int, site: int, sample: int) -> int:
    """A number of 48 bits that looks like chance; tests/inspect/real.rs has the same."""
    return ((layer * 1000 + site * 100 + sample + 1) * 0x9E3779B97F4A7C15 % 2**64) >> 16


def described(layer: int, site: int, x: torch.Tensor) -> list:
    """x is (heads, positions, numbers); of a pattern only keys that its query sees are chosen. Norms first."""
    entries = []
    for sample in range(SAMPLES):
        h = chosen(layer, site, sample)
        head, row = h % x.shape[0], (h >> 8) % x.shape[1]
        column = (h >> 16) % (row + 1 if SITES[site] == "pattern" else x.shape[2])
        entries.append(float(x[head, row, column]))
    parts = x.double() if SITES[site] == "pattern" else x.double()[None]
    return [[float(part.norm()) for part in parts], entries]


@torch.no_grad()
def case(name: str, folder: str, dtype=torch.float32) -> dict:
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=dtype).eval()
    ids = AutoTokenizer.from_pretrained(folder)(TEXT[name])["input_ids"]
    seen: list[dict] = [{} for _ in model.model.layers]
    width = model.config.hidden_size // model.config.num_attention_heads

    def keep(layer, site):
        def heads(x):
            seen[layer][site] = x[0].unflatten(-1, (-1, width)).transpose(0, 1)

        # z is what the output projection reads.
        return (lambda _, args: heads(args[0])) if site == "z" else (lambda _, __, out: heads(out))

    for at, layer in enumerate(model.model.layers):
        for site, part in [("q", "q_proj"), ("k", "k_proj"), ("v", "v_proj")]:
            getattr(layer.self_attn, part).register_forward_hook(keep(at, site))
        layer.self_attn.o_proj.register_forward_pre_hook(keep(at, "z"))
    out = model(torch.tensor([ids]), output_attentions=True, output_hidden_states=True, use_cache=False)
    for at, pattern in enumerate(out.attentions):
        seen[at]["pattern"] = pattern[0]
    # hidden_states holds the embeddings, each layer's output, and in the last place the normed one.
    states = [model.model.norm(x) for x in out.hidden_states[:-1]] + [out.hidden_states[-1]]
    lens = []
    for depth, x in enumerate(states):
        logits = model.lm_head(x)[0, -1]
        at = [chosen(depth, len(SITES), sample) % len(logits) for sample in range(LENS)]
        lens.append(logits[at].tolist())
    layers = [{site: described(at, n, sites[site]) for n, site in enumerate(SITES)} for at, sites in enumerate(seen)]
    return {"ids": ids, "layers": layers, "lens": lens}


def apart(a, b) -> float:
    """The largest difference, as a share of 1 or of the number itself."""
    if isinstance(a, float):
        return abs(a - b) / max(1.0, abs(a))
    if not isinstance(a, (dict, list)):
        return 0.0
    keys = a if isinstance(a, dict) else range(len(a))
    return max(apart(a[key], b[key]) for key in keys)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    folders = dict(model.split("=", 1) for model in args.models)
    made = {name: case(name, folder) for name, folder in folders.items()}
    for name, folder in folders.items():
        print(f"{name}: f32 is {apart(case(name, folder, torch.float64), made[name]):.1e} from f64")
    if args.check:
        same = all(close(json.loads(OUT.read_text())[name], rounded(of)) for name, of in made.items())
        print("the same" if same else "DIFFERENT")
        raise SystemExit(0 if same else 1)
    OUT.write_text(json.dumps(rounded(made), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
