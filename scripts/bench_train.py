#!/usr/bin/env python3
"""Times `taper train` beside PyTorch's eager f32 on the same shape, batch and cores, taking turns.

    cargo build --release
    python scripts/bench_train.py                       # configs/stories.json, 8 rows of 256 tokens
    python scripts/bench_train.py --products bf16       # taper's products in bf16; PyTorch's stay f32

Both do whole steps: forwards, cross-entropy, backwards, the gradients' norm cut to 1, AdamW. PyTorch is the
pinned transformers' class with its fused attention (sdpa) and torch.optim.AdamW. The text is random letters, for
speed does not depend on it. Prints the median tokens a second of each and their ratio, and taper's memory over
its longest turn.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def torch_turn(args):
    """In a process of its own: seconds of each step, as JSON."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.set_num_threads(args.threads)
    config = json.loads(args.config.read_text()) | {"vocab_size": args.vocab}
    config = AutoConfig.for_model(config.pop("model_type"), **config)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
    seconds = []
    for _ in range(args.steps):
        began = time.perf_counter()
        ids = torch.randint(args.vocab, (args.batch, args.seq + 1))
        logits = model(ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.reshape(-1, args.vocab), ids[:, 1:].reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        seconds.append(time.perf_counter() - began)
    print(json.dumps(seconds))


def resident(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def taper_turn(args, folder, turn):
    """Tokens a second of each step, and mebibytes in use meanwhile."""
    out = folder / f"run{turn}"
    recipe = {
        "model": str(folder / "config.json"), "train": str(folder / "text.txt"), "tokenizer": "characters",
        "out": str(out), "products": args.products, "steps": args.steps, "batch": args.batch,
        "micro_batch": args.micro, "seq_len": args.seq, "learning_rate": 1e-3, "log_every": 1,
        "evaluate_every": 10**6, "evaluate_rows": 1, "save_every": 10**6,
    }  # fmt: skip
    (folder / "recipe.toml").write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in recipe.items()))
    command = [args.taper, "train", folder / "recipe.toml", "--threads", str(args.threads), "--quiet"]
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    memory = []
    while process.poll() is None:
        memory.append(resident(process.pid))
        time.sleep(0.05)
    if process.returncode:
        sys.exit(f"taper train failed with {process.returncode}")
    logs = list(out.glob("*.jsonl"))
    lines = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    return [line["tokens_per_second"] for line in lines if line.get("loss") is not None], memory


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--taper", type=Path, default=ROOT / "target/release/taper")
    parser.add_argument("--config", type=Path, default=ROOT / "configs/stories.json")
    parser.add_argument("--products", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--vocab", type=int, default=2048)
    parser.add_argument("--batch", type=int, default=8, help="rows of a step")
    parser.add_argument("--micro", type=int, default=2, help="rows that a thread of taper's takes at once")
    parser.add_argument("--seq", type=int, default=256)
    parser.add_argument("--steps", type=int, default=8, help="steps of a turn; the first is not counted")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--torch-turn", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.torch_turn:
        return torch_turn(args)
    ours, theirs, memory = [], [], []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        letters = random.Random(1)
        text = "".join(letters.choice("abcdefghijklmnopqrstuvwxyz ") for _ in range(4 * args.batch * args.seq + 9999))
        (folder / "text.txt").write_text(text)
        (folder / "config.json").write_text(json.dumps(json.loads(args.config.read_text()) | {"vocab_size": args.vocab}))
        for turn in range(args.rounds):
            speeds, memory = taper_turn(args, folder, turn)
            ours += speeds[1:]
            done = subprocess.run(
                [sys.executable, __file__, *sys.argv[1:], "--torch-turn"], capture_output=True, text=True
            )
            if done.returncode:
                sys.exit(done.stderr)
            theirs += [args.batch * args.seq / s for s in json.loads(done.stdout.splitlines()[-1])[1:]]
    taper, torch = statistics.median(ours), statistics.median(theirs)
    print(f"{args.threads} threads, {args.batch} rows of {args.seq} tokens, products {args.products}")
    print(f"taper   {taper:7.0f} tokens/s  (of {len(ours)} steps: {min(ours):.0f} to {max(ours):.0f})")
    print(f"PyTorch {torch:7.0f} tokens/s  (of {len(theirs)} steps: {min(theirs):.0f} to {max(theirs):.0f})")
    print(f"ratio   {taper / torch:7.2f}")
    half = len(memory) // 2
    print(f"memory  {max(memory[:half]):.0f} MiB at most in the first half of a turn, {max(memory[half:]):.0f} in the second")


if __name__ == "__main__":
    main()
