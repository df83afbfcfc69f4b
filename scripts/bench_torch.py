#!/usr/bin/env python3
"""PyTorch's side of scripts/bench_peers.py, which starts it: a model loaded once, then for every line of
JSON on stdin, {"kind", "threads", "n", "depth", "batch"}, tokens a second on stdout."""

import json
import sys
import time

import torch
import transformers


def measure(model, ask):
    torch.set_num_threads(ask["threads"])
    rows, depth, n = ask["batch"], ask["depth"], ask["n"]
    ids = torch.randint(model.config.vocab_size, (rows, depth + n))
    cache = transformers.DynamicCache()
    if depth:
        model(input_ids=ids[:, :depth], past_key_values=cache, use_cache=True, logits_to_keep=1)
    started = time.perf_counter()
    if ask["kind"] == "prefill":
        model(input_ids=ids[:, depth:], past_key_values=cache, use_cache=True, logits_to_keep=1)
    else:
        for at in range(depth, depth + n):
            model(input_ids=ids[:, at : at + 1], past_key_values=cache, use_cache=True)
    return rows * n / (time.perf_counter() - started)


def first_token(folder, prompt):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    out = model.generate(**tokenizer(prompt, return_tensors="pt"), max_new_tokens=1, do_sample=False)
    print(tokenizer.decode(out[0, -1:]), flush=True)


@torch.no_grad()
def main():
    folder, dtype = sys.argv[1:3]
    if dtype == "first-token":
        return first_token(folder, sys.argv[3])
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    model.eval()
    measure(model, {"kind": "decode", "threads": 2, "n": 4, "depth": 0, "batch": 1})
    print("ready", flush=True)
    for line in sys.stdin:
        print(measure(model, json.loads(line)), flush=True)


if __name__ == "__main__":
    main()
