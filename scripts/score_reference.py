#!/usr/bin/env python3
"""Perplexity by PyTorch, strided as Hugging Face's guide on fixed-length models has it.

    python scripts/score_reference.py MODEL TEXT --window 256 --stride 128 --max-tokens 2048
    python scripts/score_reference.py --golden            # remakes tests/golden/real/scores.json

Every token is scored once, by its own log-probability. (The guide weighs a window's mean with one token less
than it predicts, after the first; `guide` is that number, the same but for the last digits.) The golden file
holds both, and the first log-probabilities, of the first tokens of wiki.test.raw.
"""

import argparse
import json
import math
from pathlib import Path

import torch
import transformers

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
# Model, its folder, window, stride, tokens.
GOLDEN = [
    ("stories260K", DATA / "stories260K", 512, 256, 6000),
    ("SmolLM2-135M", ROOT / "target" / "models" / "SmolLM2-135M-Instruct-f32", 256, 128, 2000),
]


@torch.no_grad()
def score(folder: Path, text: str, window: int, stride: int, max_tokens: int) -> dict:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    model.eval()
    ids = tokenizer(text).input_ids[:max_tokens]
    logprobs, weighed, weights, done = [], 0.0, 0, 0
    for begin in range(0, len(ids), stride):
        end = min(begin + window, len(ids))
        targets = end - done
        batch = torch.tensor([ids[begin:end]])
        losses = model(input_ids=batch).logits[0, :-1].double().log_softmax(-1)
        found = losses.gather(1, batch[0, 1:, None])[-targets:, 0]
        logprobs += found.tolist()
        weighed += -found.mean().item() * (targets - 1)
        weights += targets - 1
        done = end
        if end == len(ids):
            break
    nll = -sum(logprobs) / len(logprobs)
    spread = sum((-x - nll) ** 2 for x in logprobs) / (len(logprobs) - 1)
    return {
        "window": window,
        "stride": stride,
        "tokens": len(ids),
        "predicted": len(logprobs),
        "nll": round(nll, 8),
        "nll_error": round(math.sqrt(spread / len(logprobs)), 8),
        "perplexity": round(math.exp(nll), 6),
        "guide": round(math.exp(weighed / weights), 6),
        "first": [round(x, 5) for x in logprobs[:16]],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("text", nargs="?", type=Path)
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--stride", type=int, default=512)
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--golden", action="store_true")
    args = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if not args.golden:
        print(json.dumps(score(args.model, args.text.read_text(), args.window, args.stride, args.max_tokens), indent=1))
        return
    text = (DATA / "text" / "wiki.test.raw").read_text()
    found = {name: score(folder, text, *plan) for name, folder, *plan in GOLDEN if folder.exists()}
    path = ROOT / "tests" / "golden" / "real" / "scores.json"
    old = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(old | found, indent=1) + "\n")


if __name__ == "__main__":
    main()
