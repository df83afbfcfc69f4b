#!/usr/bin/env python3
"""Makes tests/gradients/: what PyTorch's autograd and AdamW make of a few of the golden checkpoints.

    python scripts/golden_grad.py            # writes tests/gradients/<family>-<case>.safetensors
    python scripts/golden_grad.py --check    # says how far a fresh computation is from what is committed

Each file holds `ids` (rows, seq), `losses` (of the checkpoint, and after each of ten steps) and the gradient
of every tensor of the checkpoint under its own name, all computed in f32 by the pinned transformers, attention
by its definition. The loss is the mean cross-entropy of every token after a row's first.
"""

import argparse
from pathlib import Path

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent.parent / "tests"
CASES = ["gpt2/small", "llama/tied_gqa", "qwen3/tied", "gemma2/capped_window"]
STEPS = 10
ADAMW = {"lr": 1e-3, "betas": (0.9, 0.95), "eps": 1e-8}
DECAY = 0.1


def parameters(model, names):
    """The model's parameter behind each name of the checkpoint, whose prefix may be missing."""
    found = dict(model.named_parameters())
    ends = {name: [p for own, p in found.items() if own == name or own.endswith("." + name)] for name in names}
    for name, matches in ends.items():
        assert len(matches) == 1, f"{name}: {len(matches)} parameters"
    assert len({id(matches[0]) for matches in ends.values()}) == len(found), "a parameter is in no tensor"
    return {name: matches[0] for name, matches in ends.items()}


def loss_of(model, ids):
    logits = model(ids).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1))


def make(case):
    folder = ROOT / "golden" / case
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    with safe_open(folder / "model.safetensors", "pt") as stored:
        named = parameters(model, stored.keys())
    vocab = model.config.vocab_size
    ids = torch.tensor([(i * i * 7 + i * 3 + 1) % vocab for i in range(40)]).reshape(2, 20)
    loss = loss_of(model, ids)
    loss.backward()
    out = {name: p.grad.clone() for name, p in named.items()}
    decays = {name: p.dim() > 1 and "norm" not in name and not name.endswith("bias") for name, p in named.items()}
    groups = [
        {"params": [p for name, p in named.items() if decays[name] == decay], "weight_decay": DECAY * decay}
        for decay in (True, False)
    ]
    optimizer = torch.optim.AdamW(groups, **ADAMW)
    losses = [loss.item()]
    for _ in range(STEPS):
        optimizer.step()
        optimizer.zero_grad()
        loss = loss_of(model, ids)
        loss.backward()
        losses.append(loss.item())
    return out | {"ids": ids.to(torch.int64), "losses": torch.tensor(losses, dtype=torch.float32)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing; exit 1 beyond rounding")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    failed = False
    for case in CASES:
        made, path = make(case), ROOT / "gradients" / f"{case.replace('/', '-')}.safetensors"
        print(case, [round(loss, 4) for loss in made["losses"].tolist()])
        if not args.check:
            path.parent.mkdir(exist_ok=True)
            save_file(made, path)
            continue
        with safe_open(path, "pt") as old:
            assert set(old.keys()) == set(made), f"{path}: other tensors"
            pairs = {name: (old.get_tensor(name).double(), made[name].double()) for name in made}
        worst = max(((a - b).abs().max() / b.abs().max()).item() for a, b in pairs.values())
        print(f"  off by {worst:.1e}")
        failed |= worst > 1e-4
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
