"""Makes one golden case: a tiny random checkpoint, its config.json, and what PyTorch computes with it."""

import copy
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import load_file

import golden_drift
import reference
from golden_cases import Case
from golden_moe import pack, packable

STORED = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}
# Norms whose stored weight is added to one.
OFFSET_NORMS = {"gemma", "gemma2", "gemma3_text", "nemotron"}
# With a cache the logits are the same as without to this; only where they are meant to differ are they kept.
CACHED = 5e-5
# Embeddings multiplied with √dim.
SCALED_EMBEDDINGS = {"gemma", "gemma2", "gemma3_text", "xglm"}


def rng(*key) -> np.random.Generator:
    """A generator of its own for each thing, so that adding one changes no other."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "little"))


# --- weights ----------------------------------------------------------------------------------------


def draw(name: str, shape, key, model_type: str, conv1d: bool) -> np.ndarray:
    x = rng(*key, name).standard_normal(shape)
    leaf = name.rsplit(".", 1)[-1]
    if "norm" in name or "ln_" in name or "layernorm" in name:
        if leaf == "bias":
            return 0.3 * x
        return 0.25 * x + (0.0 if model_type in OFFSET_NORMS else 1.0)
    if leaf == "sinks":
        return x + 1.0
    if len(shape) == 1 or leaf.endswith("_bias"):
        return 0.3 * x
    if is_embedding(name):
        return x * (3 / math.sqrt(shape[1]) if model_type in SCALED_EMBEDDINGS else 0.7)
    if leaf == "weight" and ("lm_head" in name or "embed_out" in name):
        return x * 3 / math.sqrt(shape[1])
    transposed = conv1d or (model_type == "gpt_oss" and len(shape) == 3)
    fan_in = shape[-2] if transposed else shape[-1]
    return x * 1.5 / math.sqrt(fan_in)


def is_embedding(name: str) -> bool:
    return any(part in name for part in ("embed_tokens", "embed_in", "embed_positions", "word_embeddings", "wte", "wpe"))


def randomise(model, key, stored: torch.dtype):
    conv1d = {f"{name}.weight" for name, m in model.named_modules() if isinstance(m, transformers.pytorch_utils.Conv1D)}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = draw(name, tuple(parameter.shape), key, model.config.model_type, name in conv1d)
            parameter.copy_(torch.from_numpy(values).to(torch.float32).to(stored).to(torch.float32))


# --- config files -----------------------------------------------------------------------------------


def as_v4(config: dict, scaling_type: str) -> dict:
    """The same config with the keys that transformers wrote before version 5."""
    config = dict(config)
    if "dtype" in config:
        config["torch_dtype"] = config.pop("dtype")
    config.pop("layer_types", None)
    rope = config.pop("rope_parameters", None)
    if rope is not None:
        rope = dict(rope)
        kind, theta, partial = (
            rope.pop("rope_type"),
            rope.pop("rope_theta"),
            rope.pop("partial_rotary_factor", None),
        )
        if config["model_type"] == "gpt_neox":
            config |= {"rotary_emb_base": int(theta), "rotary_pct": 1.0 if partial is None else partial}
        else:
            config["rope_theta"] = theta
            if partial is not None:
                config["partial_rotary_factor"] = partial
        config["rope_scaling"] = None if kind == "default" else rope | {scaling_type: kind}
    config["transformers_version"] = "4.41.2"
    return dict(sorted(config.items()))


def write_config(folder: Path, case: Case):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    before = transformers.AutoConfig.from_pretrained(folder).to_dict()
    if case.form == "v4":
        config = as_v4(config, case.scaling_type)
    config = dict(sorted({k: v for k, v in (config | case.json).items() if k not in case.drop}.items()))
    path.write_text(json.dumps(config, indent=2) + "\n")
    # However it is written, it is read as the same.
    after = transformers.AutoConfig.from_pretrained(folder).to_dict()
    for name in sorted(set(before) | set(after)):
        ignored = name in case.json or name in case.drop or name in ("transformers_version", "_name_or_path")
        if not ignored and plain(before.get(name)) != plain(after.get(name)):
            raise SystemExit(f"error: {folder}: {name} was {before.get(name)} and is read as {after.get(name)}")


def write_kin(folder: Path, case: Case):
    """The config of a family that transformers does not read."""
    path = folder / "config.json"
    config = as_v4(json.loads(path.read_text()), case.scaling_type) | {"architectures": None} | case.kin
    config = dict(sorted({k: v for k, v in config.items() if k not in case.drop}.items()))
    path.write_text(json.dumps(config, indent=2) + "\n")


def plain(value):
    """Without the old name of rope_type, which is kept beside the new one."""
    return {k: v for k, v in value.items() if k != "type"} if isinstance(value, dict) else value


# --- one case ---------------------------------------------------------------------------------------


def make(family: str, case: Case, folder: Path):
    config = transformers.AutoConfig.for_model(case.model_type or family, **copy.deepcopy(case.config))
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    randomise(model, (family, case.seed or case.name), STORED[case.stored])
    if case.packed:
        packable(model)
    model.to(STORED[case.stored])
    extra = {"max_shard_size": case.shard} if case.shard else {}
    model.save_pretrained(folder, save_original_format=not case.stacked, **extra)
    if case.pickled:
        pickle(folder, case)
    if not case.kin:
        write_config(folder, case)
    model = reference.load(folder)
    if case.kin:
        write_kin(folder, case)
    if case.packed:
        pack(folder)
    references((family, case.name), case, folder, model, reference.metadata(folder, model, "f32"))
    golden_drift.write(folder)
    for path in folder.iterdir():
        path.chmod(0o644)


def pickle(folder: Path, case: Case):
    """pytorch_model.bin as older checkpoints have it: GPT-2's names without prefix, and its mask buffers."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    state = {name.removeprefix("transformer."): x for name, x in state.items()}
    if case.config.get("n_layer"):
        n = case.config["n_positions"]
        for layer in range(case.config["n_layer"]):
            state[f"h.{layer}.attn.bias"] = torch.ones(n, n, dtype=torch.uint8).tril().view(1, 1, n, n)
            state[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    torch.save(dict(sorted(state.items())), folder / "pytorch_model.bin")


def references(key, case: Case, folder: Path, model, meta: dict, sites=()):
    """Writes what `model` computes, of its sites these or all; `meta` names it."""
    vocab = model.config.get_text_config().vocab_size
    prompt = lambda name, length: torch.from_numpy(rng(*key, "ids", name).integers(0, vocab, (1, length)))

    # Each prompt gets a fresh copy: rotary modules with dynamic scaling remember earlier lengths.
    fresh = lambda: copy.deepcopy(model)
    with reference.Tracer(fresh()) as tracer:
        trace = tracer.run(prompt("trace", case.trace))
    kept = {name: x for name, x in trace.items() if not sites or name.rsplit(".", 1)[-1] in sites}
    reference.save(kept, folder / "reference.safetensors", meta)

    out = {}
    with torch.no_grad():
        for n, length in enumerate(case.lengths):
            ids = prompt(n, length)
            out[f"{n}.ids"], out[f"{n}.logits"] = ids, fresh()(input_ids=ids, use_cache=False).logits
        cached = step_by_step(fresh(), ids)
    if case.cache_differs:
        out[f"{n}.cached_logits"] = cached
    reference.save(out, folder / "logits.safetensors", meta)

    what = "/".join(key)
    drift = (cached - out[f"{n}.logits"]).abs().max().item()
    if not (drift > 1e-3 if case.cache_differs else drift < CACHED):
        raise SystemExit(f"error: {what}: with and without cache the logits differ by {drift:.1e}")
    patterns = [x.max(-1).values.mean().item() for name, x in trace.items() if name.endswith(".pattern")]
    spread, peak = out[f"{n}.logits"].std().item(), sum(patterns) / len(patterns)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{what}: {size / 1000:.0f} kB, logits' spread {spread:.1f}, patterns' peak {peak:.2f}, cache {drift:.0e}")
    if not (0.5 < spread < 12 and peak > 2.0 / case.trace):
        raise SystemExit(f"error: {what}: weights of an unsuitable size")


def step_by_step(model, ids):
    cache, logits = None, []
    for token in ids[0]:
        out = model(input_ids=token.view(1, 1), past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        logits.append(out.logits)
    return torch.cat(logits, 1)
