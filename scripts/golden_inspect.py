#!/usr/bin/env python3
"""Makes tests/golden/inspect.json: what looking inside gives for some of the golden checkpoints, by
transformers alone: head scores and statistics from `output_attentions`, the logit lens from
`output_hidden_states`, and logits with columns of the output projection set to zero.

    python scripts/golden_inspect.py                  # writes it
    python scripts/golden_inspect.py --check          # remakes and compares to 1e-6

The text is one token, ten random ones, and the same ten again.
"""

import argparse
import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).resolve().parent.parent / "tests" / "golden"
OUT = ROOT / "inspect.json"
CASES = [
    "gpt2/small",
    "llama/tied_gqa",
    "qwen3/tied",
    "gemma2/capped_window",
    "bloom/three_heads",
    "gpt_oss/defaults",
]
PERIOD = 10
LOCAL = 8


def entropy(pattern: torch.Tensor) -> torch.Tensor:
    """Over the last axis, a sink's share included, which is what is left to 1."""
    beside = (1 - pattern.sum(-1)).clamp(min=0)
    beside = torch.where(beside > 1e-5, beside, torch.zeros_like(beside))
    return -torch.special.xlogy(pattern, pattern).sum(-1) - torch.special.xlogy(beside, beside)


def scores(pattern: torch.Tensor, period: int) -> dict:
    """Of one head, (queries, keys): means over the second run's queries."""
    second = range(pattern.shape[0] - period, pattern.shape[0])
    mean = lambda of: sum(float(of(i)) for i in second) / period  # noqa: E731
    return {
        "induction": mean(lambda i: pattern[i, i - period + 1]),
        "previous": mean(lambda i: pattern[i, i - 1]),
        "duplicate": mean(lambda i: pattern[i, i - period]),
        "sink": mean(lambda i: pattern[i, 0]),
        "local": mean(lambda i: pattern[i, max(0, i - LOCAL + 1) : i + 1].sum()),
        "entropy": mean(lambda i: entropy(pattern[i])),
    }


def statistics(pattern: torch.Tensor) -> dict:
    """Of one head: means over the queries from the second on."""
    n = pattern.shape[0]
    distance = torch.arange(n)[:, None] - torch.arange(n)[None, :]
    mean = lambda x: float(x[1:].mean())  # noqa: E731
    return {
        "entropy": mean(entropy(pattern)),
        "first": mean(pattern[:, 0]),
        "previous": float(torch.diagonal(pattern, -1).mean()),
        "self": mean(torch.diagonal(pattern)),
        "distance": mean((pattern * distance).sum(-1)),
    }


def parts(model):
    """The final norm, and each layer's output projection with whether it is stored transposed."""
    base = model.base_model
    if hasattr(base, "h"):
        blocks = base.h
        outs = [getattr(getattr(b, "attn", None), "c_proj", None) or b.self_attention.dense for b in blocks]
        return base.ln_f, [(out, out.__class__.__name__ == "Conv1D") for out in outs]
    return base.norm, [(layer.self_attn.o_proj, False) for layer in base.layers]


def head_logits(model, x: torch.Tensor) -> torch.Tensor:
    logits = model.lm_head(x)
    cap = getattr(model.config, "final_logit_softcapping", None)
    return torch.tanh(logits / cap) * cap if cap else logits


@torch.no_grad()
def case(name: str) -> dict:
    model = AutoModelForCausalLM.from_pretrained(ROOT / name, attn_implementation="eager", dtype=torch.float32).eval()
    torch.manual_seed(11)
    run = (torch.randperm(model.config.vocab_size - 1)[:PERIOD] + 1).tolist()
    ids = torch.tensor([[0] + run + run])
    out = model(ids, output_attentions=True, output_hidden_states=True, use_cache=False)
    norm, outs = parts(model)
    # hidden_states holds the embeddings, each layer's output, and in the last place the normed one.
    states = [norm(x) for x in out.hidden_states[:-1]] + [out.hidden_states[-1]]
    lens = [head_logits(model, x)[0, -1] for x in states]
    # In f64: the logits are f32's, and what is read off them adds no error of its own.
    final = lens[-1].double().log_softmax(-1)
    heads, ablated = [], []
    for layer, pattern in enumerate(out.attentions):
        for head in range(pattern.shape[1]):
            heads.append({"layer": layer, "head": head, "scores": scores(pattern[0, head], PERIOD),
                          "statistics": statistics(pattern[0, head])})
            proj, transposed = outs[layer]
            weight = proj.weight.T if transposed else proj.weight
            width = weight.shape[1] // pattern.shape[1]
            kept = weight.clone()
            weight[:, head * width : (head + 1) * width] = 0
            ablated.append(model(ids, use_cache=False).logits[0, -1].tolist())
            weight.copy_(kept)
    return {
        "ids": ids[0].tolist(),
        "period": PERIOD,
        "heads": heads,
        "lens": [
            {"logits": x.tolist(), "kl": float((final.exp() * (final - x.double().log_softmax(-1))).sum())} for x in lens
        ],
        "ablated": ablated,
    }


def close(a, b) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    return abs(a - b) <= 1e-6 * max(1.0, abs(b)) if isinstance(a, float) else a == b


def rounded(x):
    if isinstance(x, dict):
        return {key: rounded(value) for key, value in x.items()}
    if isinstance(x, list):
        return [rounded(value) for value in x]
    return float(f"{x:.7g}") if isinstance(x, float) else x


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    made = rounded({name: case(name) for name in CASES })
    if args.check:
        same = close(json.loads(OUT.read_text()), made)
        print("the same" if same else "DIFFERENT")
        raise SystemExit(0 if same else 1)
    OUT.write_text(json.dumps(made, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
