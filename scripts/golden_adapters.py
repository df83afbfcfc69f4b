#!/usr/bin/env python3
"""Makes tests/golden/adapters: LoRA adapters of the golden checkpoints as PEFT saves them, and what PEFT computes with
them.

    pip install -r scripts/requirements.txt peft==0.21.2
    python scripts/golden_adapters.py

Per case a folder that PEFT wrote (`adapter_config.json`, which names the base's case, and
`adapter_model.safetensors`) with random A and B, and `logits.safetensors`: `ids`, `logits` with the adapter beside the
base's matrices (not folded into them), and for some cases `loss` (mean cross-entropy of the next token) and the
gradient of every A and B under PEFT's name.
"""

import json
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

ROOT = Path(__file__).resolve().parent.parent / "tests" / "golden"
# The base, what LoraConfig is given, and whether gradients are kept.
CASES = {
    # Matrices stored (in, out), queries, keys and values in one.
    "gpt2": (
        "gpt2/switches",
        dict(r=2, lora_alpha=5, target_modules=["c_attn", "mlp.c_proj"], lora_dropout=0.1),
        True,
    ),
    # Named by a regular expression; α/√r, and a norm in another's place.
    "llama": (
        "llama/tied_gqa",
        dict(
            r=2,
            lora_alpha=3,
            use_rslora=True,
            target_modules=r"model\.layers\.1\.(self_attn\.(q|k)_proj|mlp\.(up|down)_proj)",
            modules_to_save=["model.norm"],
        ),
        True,
    ),
    # Embedding and head are one matrix in the base, and two with the adapter.
    "tied": ("llama/tied_gqa", dict(r=2, lora_alpha=4, target_modules=["embed_tokens", "v_proj"]), False),
    # Query, key and value rows of a head together; a rank and alphas of their own, biases of all modules.
    "gpt_neox": (
        "gpt_neox/parallel",
        dict(
            r=2,
            target_modules=["query_key_value"],
            rank_pattern={r"layers\.1\.attention\.(query|key)\w*": 3},
            alpha_pattern={"layers.1.attention.query_key_value": 5, "query_key_value": 7},
            bias="all",
        ),
        False,
    ),
    # [q | k | v] and [gate | up], in one layer only.
    "phi3": ("phi3/window", dict(r=2, target_modules=["qkv_proj", "gate_up_proj"], layers_to_transform=[1]), True),
}


def make(name: str, base: str, config: dict, gradients: bool):
    folder = ROOT / "adapters" / name
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(sum(name.encode()))
    model = AutoModelForCausalLM.from_pretrained(ROOT / base, dtype=torch.float32, attn_implementation="eager")
    ids = torch.randint(model.config.vocab_size, (1, 5))
    with torch.no_grad():
        base_logits = model(ids).logits
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **config)).eval()
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data += 0.3 * torch.randn_like(parameter)
    logits = model(ids).logits
    tensors = {"ids": ids.to(torch.uint32), "logits": logits.detach()}
    assert (tensors["logits"] - base_logits).abs().max() > 0.1
    if gradients:
        loss = torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:])
        loss.backward()
        tensors["loss"] = loss.detach()
        state = {name: p.grad for name, p in model.named_parameters() if ".lora_" in name}
        assert all(gradient is not None for gradient in state.values())
        tensors |= {name.replace(".default", ""): gradient for name, gradient in state.items()}
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / "README.md").unlink()
    file = folder / "adapter_config.json"
    said = json.loads(file.read_text()) | {"base_model_name_or_path": base}
    for key in ("target_modules", "modules_to_save"):
        said[key] = sorted(said[key]) if isinstance(said[key], list) else said[key]
    file.write_text(json.dumps(said, indent=1) + "\n")
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "logits.safetensors")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{name}: {size} bytes; {', '.join(sorted(path.name for path in folder.iterdir()))}")


if __name__ == "__main__":
    for name, case in CASES.items():
        make(name, *case)
