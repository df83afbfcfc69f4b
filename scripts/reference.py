#!/usr/bin/env python3
"""Traces a forward pass of a transformers causal language model: every probe site, from PyTorch.

    python scripts/reference.py MODEL "prompt" -o ref.safetensors
    python scripts/reference.py MODEL --ids 1,2,3 -o ref.safetensors --dtype bf16 --sites q,k --layers 0,5
    python scripts/reference.py MODEL "prompt" -o ref.safetensors --yardstick bf16,f16 --greedy 32

MODEL is a folder, a GGUF file or a hub id. The model runs in eval mode with eager attention, without a
cache. Nothing of it is re-implemented: sites are read off by hooks, by watching the softmax of each
attention module and the two products beside it, and by wrapping the module's rotary function.

The file holds `ids` (batch, seq) and one tensor a site, `embed`, `final_norm`, `logits`, `<layer>.<site>`:

    resid_pre attn_in attn_out resid_mid mlp_in mlp_out resid_post embed final_norm   (batch, seq, dim)
    q q_pos z                                                     (batch, heads, seq, head_dim)
    k v k_pos                                                     (batch, kv_heads, seq, head_dim)
    scores pattern                                                (batch, heads, seq, keys)
    logits                                                        (batch, seq, vocab)

An ALiBi bias is given relative to the query's own position, 0 on the diagonal, whatever constant a family
adds per query. q and k are what positions are applied to (after a norm on them, where that comes first) and q_pos and
k_pos what is multiplied, whole heads in both; without rotation the two are equal. scores are scaled,
capped, biased and masked; masked entries are -inf. attn_out and mlp_out are what is added to the residual
stream, after a norm or factor of their own. resid_mid exists unless the branches are parallel, and final_norm
unless there is none (OPT-350m).

The metadata name the model (`fingerprint`: SHA-256 over the bytes of config.json and then of the weight
files in the order of their names, or of the GGUF file), the prompt, the dtype and the versions. Two more are
JSON: `drift`, how far PyTorch's own 16-bit run is from its f32 run, `{dtype: {site: [max, mean]}}`, the yardstick
for what is rounding (always in a 16-bit reference, in one of f32 with --yardstick); and `greedy`, the
continuation by the likeliest token with a cache: `ids`, the `seconds` in each place, and the `margins`, logit of
the first less logit of the second.

The trace is checked against itself before it is written: softmax(scores) is the pattern, the pattern
times v is z, scaled q_pos·k_pos is the scores, the residual stream is the sum of its parts, and the head
makes the logits of final_norm. A family whose table entry below is wrong fails there.
"""

import argparse
import hashlib
import inspect
import json
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import torch
import transformers
from safetensors.torch import save as serialise
from torch.overrides import TorchFunctionMode

SITES = (
    "embed resid_pre attn_in q k v q_pos k_pos scores pattern z attn_out resid_mid mlp_in mlp_out resid_post "
    "final_norm logits"
).split()
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


# --- where things are -------------------------------------------------------------------------------


def never(_config) -> bool:
    return False


def always(_config) -> bool:
    return True


def one(_config) -> float:
    return 1.0


@dataclass(frozen=True)
class Layout:
    """Where a family keeps its modules. Paths below `layers` are relative to one layer."""

    layers: str = "model.layers"
    final_norm: str | None = "model.norm"
    attn: str = "self_attn"  # its input is attn_in
    attn_out: str | None = None  # its output is attn_out; default: attn's
    mid: str | Callable = "post_attention_layernorm"  # its input is resid_mid; may depend on the config
    mlp: str = "mlp"  # its input is mlp_in
    mlp_out: str | None = None  # its output is mlp_out; default: mlp's
    parallel: Callable = never
    branch_scale: Callable = one  # what a branch's output is multiplied with before it is added
    query_prescaled: bool = False  # the query projection's output is scaled before heads are split
    residual_from_norm: Callable = never  # the residual connection starts behind the norm (BLOOM's option)
    norm_after: tuple | None = None  # norms on the sum, post-norm as first published: (condition, mid, last)


def sandwich(attn_norm: str, mid: str, mlp_norm: str) -> Layout:
    return Layout(attn_out=attn_norm, mid=mid, mlp_out=mlp_norm)


PRE = Layout()
GPT2 = Layout("transformer.h", "transformer.ln_f", "attn", mid="ln_2")
GPTJ = Layout("transformer.h", "transformer.ln_f", "attn", parallel=always)
POST = Layout(attn_out="post_attention_layernorm", mid="mlp", mlp_out="post_feedforward_layernorm")
GEMMA2 = sandwich("post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")
PARALLEL = Layout(parallel=always)


def granite_scale(config) -> float:
    return config.residual_multiplier


LAYOUTS = {
    "apertus": Layout(mid="feedforward_layernorm"),
    "bloom": Layout(
        "transformer.h",
        "transformer.ln_f",
        "self_attention",
        attn_out="self_attention.dense",
        mlp_out="mlp.dense_4h_to_h",
        residual_from_norm=lambda c: c.apply_residual_connection_post_layernorm,
    ),
    "codegen": GPTJ,
    "cohere": PARALLEL,
    "cohere2": PARALLEL,
    "exaone4": POST,
    "falcon": Layout(
        "transformer.h",
        "transformer.ln_f",
        "self_attention",
        parallel=lambda c: c.new_decoder_architecture or c.parallel_attn,
    ),
    "gemma2": GEMMA2,
    "gemma3_text": GEMMA2,
    "glm4": sandwich("post_self_attn_layernorm", "post_attention_layernorm", "post_mlp_layernorm"),
    "gpt2": GPT2,
    "gpt_bigcode": GPT2,
    "gpt_neo": GPT2,
    "gpt_neox": Layout(
        "gpt_neox.layers", "gpt_neox.final_layer_norm", "attention", parallel=lambda c: c.use_parallel_residual
    ),
    "gptj": GPTJ,
    "granite": Layout(branch_scale=granite_scale),
    "granitemoe": Layout(mlp="block_sparse_moe", branch_scale=granite_scale),
    "mpt": Layout(
        "transformer.blocks", "transformer.norm_f", "attn", mid="norm_2", mlp="ffn", mlp_out="ffn.down_proj"
    ),
    "olmo2": POST,
    "olmo3": POST,
    "opt": Layout(
        "model.decoder.layers",
        "model.decoder.final_layer_norm",
        mid=lambda c: "final_layer_norm" if c.do_layer_norm_before else "fc1",
        mlp="fc1",
        mlp_out="fc2",
        query_prescaled=True,
        norm_after=(lambda c: not c.do_layer_norm_before, "self_attn_layer_norm", "final_layer_norm"),
    ),
    "persimmon": Layout(final_norm="model.final_layernorm"),
    "phi": Layout(final_norm="model.final_layernorm", parallel=always),
    "stablelm": Layout(parallel=lambda c: c.use_parallel_residual),
    "xglm": Layout(
        final_norm="model.layer_norm", mid="final_layer_norm", mlp="fc1", mlp_out="fc2", query_prescaled=True
    ),
}


def layout_of(config) -> Layout:
    return LAYOUTS.get(config.model_type, PRE)


def at(module, path: str):
    for name in path.split("."):
        module = getattr(module, name)
    return module


# --- tracing ----------------------------------------------------------------------------------------


def first_tensor(value):
    return value if isinstance(value, torch.Tensor) else value[0]


def input_of(args, kwargs):
    if args:
        return args[0]
    return kwargs["hidden_states"] if "hidden_states" in kwargs else next(iter(kwargs.values()))


class Attending(TorchFunctionMode):
    """Watches one attention module at a time: the products before and after its softmax."""

    PRODUCTS = {"matmul", "__matmul__", "bmm", "baddbmm"}

    def __init__(self):
        super().__init__()
        self.found = None

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if self.found is None:
            return out
        name = getattr(func, "__name__", "")
        if name in self.PRODUCTS:
            left, right = args[-2:] if len(args) > 1 else (kwargs["batch1"], kwargs["batch2"])
            if "pattern" not in self.found:
                self.found["query"], self.found["key"] = left, right.transpose(-1, -2)
            elif "z" not in self.found:
                self.found["value"], self.found["z"] = right, out
        elif name == "softmax" and "pattern" not in self.found:
            self.found["scores"] = args[0] if args else kwargs["input"]
            self.found["pattern"] = out
        elif name == "cat" and "pattern" not in self.found:
            self.found["joined"] = args[0][0]
        return out


class Tracer:
    """Hooks into `model`; `run` gives the trace of one forward pass."""

    def __init__(self, model):
        self.model, self.config = model, model.config.get_text_config()
        self.layout = layout_of(self.config)
        self.layers = list(at(model, self.layout.layers))
        self.watch = Attending()
        self.rotated = None
        self.trace = {}
        self.handles = []

    def __enter__(self):
        layout = self.layout
        for index, layer in enumerate(self.layers):
            attn, mlp = at(layer, layout.attn), at(layer, layout.mlp)
            self.note_input(layer, index, "resid_pre")
            self.note_output(layer, index, "resid_post")
            self.note_input(attn, index, "attn_in")
            self.note_output(at(layer, layout.attn_out or layout.attn), index, "attn_out")
            self.note_input(mlp, index, "mlp_in")
            self.note_output(at(layer, layout.mlp_out or layout.mlp), index, "mlp_out")
            if not layout.parallel(self.config):
                mid = layout.mid if isinstance(layout.mid, str) else layout.mid(self.config)
                self.note_input(at(layer, mid), index, "resid_mid")
            self.handles.append(attn.register_forward_pre_hook(self.attention_begins))
            self.handles.append(attn.register_forward_hook(self.attention_ends(index)))
        if layout.final_norm and at(self.model, layout.final_norm) is not None:
            norm = at(self.model, layout.final_norm)
            hook = lambda _m, _a, out: self.trace.__setitem__("final_norm", first_tensor(out).clone())
            self.handles.append(norm.register_forward_hook(hook))
        self.module = sys.modules[type(at(self.layers[0], layout.attn)).__module__]
        self.rotate = getattr(self.module, "apply_rotary_pos_emb", None)
        if self.rotate:
            one_tensor = next(iter(inspect.signature(self.rotate).parameters)) == "tensor"

            def rotate(*args, **kwargs):
                # The form that takes one tensor, (batch, seq, heads, head_dim), gets the key first.
                if one_tensor:
                    self.rotated = {"k" if not self.rotated else "q": args[0].transpose(1, 2)} | (self.rotated or {})
                else:
                    self.rotated = {"q": args[0], "k": args[1]}
                return self.rotate(*args, **kwargs)

            self.module.apply_rotary_pos_emb = rotate
        return self

    def __exit__(self, *_):
        for handle in self.handles:
            handle.remove()
        if self.rotate:
            self.module.apply_rotary_pos_emb = self.rotate

    def note_input(self, module, index, site):
        hook = lambda _m, args, kwargs: self.note(index, site, input_of(args, kwargs))
        self.handles.append(module.register_forward_pre_hook(hook, with_kwargs=True))

    def note_output(self, module, index, site):
        hook = lambda _m, _args, out: self.note(index, site, first_tensor(out))
        self.handles.append(module.register_forward_hook(hook))

    def note(self, index, site, x):
        # Cloned: some modules go on to change their input in place.
        self.trace.setdefault(f"{index}.{site}", x.detach().clone())

    def attention_begins(self, _module, _args):
        self.watch.found, self.rotated = {}, None

    def attention_ends(self, index):
        def hook(module, _args, _out):
            found, self.watch.found = self.watch.found, None
            for site, x in self.attention_sites(module, found).items():
                self.trace[f"{index}.{site}"] = x.contiguous().clone()

        return hook

    def attention_sites(self, module, found):
        config, batch = self.config, self.batch
        heads = config.num_attention_heads
        by_head = lambda x: x.reshape(batch, -1, *x.shape[-2:])
        query, key, value, z = (by_head(found[name]) for name in ("query", "key", "value", "z"))
        scores, pattern = by_head(found["scores"]), by_head(found["pattern"])
        if scores.shape[-1] > key.shape[-2]:  # one more column, the sink, which is not a key's
            scores, pattern = by_head(found["joined"]), pattern[..., : key.shape[-2]]
        query, z = (self.unfold(x, heads, scores.shape[-2]) for x in (query, z))
        scores, pattern = (self.unfold(x, heads, query.shape[-2]) for x in (scores, pattern))
        if self.layout.query_prescaled:
            query = query / module.scaling
        n_kv = n_kv_heads(config)
        key, value = (unrepeat(x, n_kv) for x in (key, value))
        q, k = query, key
        if self.rotated:
            q, k = self.rotated["q"], unrepeat(self.rotated["k"], n_kv)
            # Partial rotation: the rest of each head passes unchanged.
            q, k = (torch.cat([a, b[..., a.shape[-1] :]], -1) for a, b in ((q, query), (k, key)))
        # The mask is the dtype's least number, which some families divide by √head_dim afterwards.
        scores = scores.masked_fill(scores < torch.finfo(self.model.dtype).min / 32, -math.inf)
        if is_alibi(config):
            extra = scores.double() - products_of(module, query, key.repeat_interleave(heads // n_kv, 1))
            scores = (scores.double() - extra.diagonal(dim1=-2, dim2=-1)[..., None]).to(scores.dtype)
        pattern = pattern.to(value.dtype)
        sites = {"q": q, "k": k, "v": value, "q_pos": query, "k_pos": key}
        return sites | {"scores": scores, "pattern": pattern, "z": z}

    def unfold(self, x, heads, seq):
        """Multi-query code may fold the heads into the positions: (batch, 1, seq * heads, …)."""
        if x.shape[1] == heads:
            return x
        return x.reshape(x.shape[0], -1, heads, x.shape[-1]).transpose(1, 2)

    @torch.no_grad()
    def run(self, ids: torch.Tensor, verify: bool = True) -> dict:
        self.trace, self.batch = {}, ids.shape[0]
        with self.watch:
            logits = self.model(input_ids=ids, use_cache=False).logits
        trace, scale = self.trace, self.layout.branch_scale(self.config)
        if scale != 1.0:
            for index in range(len(self.layers)):
                for site in ("attn_out", "mlp_out"):
                    trace[f"{index}.{site}"] = trace[f"{index}.{site}"] * scale
        shape = trace["0.resid_pre"].shape
        for name in list(trace):
            if name.split(".")[-1] in ("mlp_in", "mlp_out", "resid_mid"):
                trace[name] = trace[name].reshape(*shape[:2], -1)
        trace["ids"], trace["embed"], trace["logits"] = ids, trace["0.resid_pre"].clone(), logits
        if verify:
            check(self, trace)
        return {name: x.contiguous() for name, x in trace.items()}


def n_kv_heads(config) -> int:
    if config.model_type == "falcon":
        return config.num_kv_heads if config.new_decoder_architecture or not config.multi_query else 1
    if getattr(config, "multi_query", False):
        return 1
    return getattr(config, "num_key_value_heads", None) or config.num_attention_heads


def unrepeat(x, n_kv: int):
    """Keys or values that were repeated for their group of queries, once each."""
    kept = x[:, :: x.shape[1] // n_kv]
    if not torch.equal(kept.repeat_interleave(x.shape[1] // n_kv, 1), x):
        raise SystemExit("error: key or value heads are not repeated as expected")
    return kept


# --- checking ---------------------------------------------------------------------------------------


def check(tracer: Tracer, trace: dict):
    """Fails if the trace does not hang together."""
    config, model, layout = tracer.config, tracer.model, tracer.layout
    eps = {torch.float32: 2e-5, torch.bfloat16: 4e-2, torch.float16: 5e-3}[model.dtype]

    def same(what, a, b):
        a, b = a.double(), b.double()
        if a.shape != b.shape:
            raise SystemExit(f"error: {config.model_type}: {what}: shapes {tuple(a.shape)} and {tuple(b.shape)}")
        error = ((a - b).abs().max() / b.abs().max().clamp_min(1e-9)).item()
        if not error <= eps:
            raise SystemExit(f"error: {config.model_type}: {what}: they differ by {error:.2e}")

    expected = {f"{i}.{site}" for i in range(len(tracer.layers)) for site in SITES[1:-2]}
    if layout.parallel(config):
        expected -= {f"{i}.resid_mid" for i in range(len(tracer.layers))}
    expected |= {"ids", "embed", "logits"} | ({"final_norm"} & set(trace))
    if set(trace) != expected:
        raise SystemExit(f"error: {config.model_type}: sites {sorted(set(trace) ^ expected)} are too many or too few")

    for i, layer in enumerate(tracer.layers):
        get = lambda site: trace[f"{i}.{site}"]
        attn, heads = at(layer, layout.attn), config.num_attention_heads
        pattern, scores = get("pattern").double(), get("scores").double()
        spread = lambda x: x.repeat_interleave(heads // x.shape[1], 1).double()
        sinks = getattr(attn, "sinks", None)
        if sinks is None:
            same(f"{i}: pattern and softmax(scores)", pattern, scores.softmax(-1))
            same(f"{i}: the pattern's sum and 1", pattern.sum(-1), torch.ones_like(pattern[..., 0]))
        else:
            column = sinks.double().view(1, -1, 1, 1).expand(*scores.shape[:3], 1)
            same(f"{i}: pattern and softmax(scores)", pattern, torch.cat([scores, column], -1).softmax(-1)[..., :-1])
        if not torch.equal(torch.triu(pattern, 1), torch.zeros_like(pattern)):
            raise SystemExit(f"error: {config.model_type}: {i}: a query sees a later key")
        same(f"{i}: z and pattern @ v", get("z"), pattern @ spread(get("v")))
        check_scores(f"{i}: scores and scaled q·k", config, attn, layout, get, spread, same)
        check_residual(i, config, layer, layout, get, same)
        if i + 1 < len(tracer.layers) and not torch.equal(get("resid_post"), trace[f"{i + 1}.resid_pre"]):
            raise SystemExit(f"error: {config.model_type}: {i}: resid_post is not the next layer's resid_pre")
    if "final_norm" in trace:
        project = getattr(getattr(getattr(model, "model", None), "decoder", None), "project_out", None)
        with torch.no_grad():
            x = project(trace["final_norm"]) if project else trace["final_norm"]
            logits = model.get_output_embeddings()(x)
        logits = logits * (getattr(config, "logit_scale", None) or 1.0) / getattr(config, "logits_scaling", 1.0)
        if cap := getattr(config, "final_logit_softcapping", None):
            logits = torch.tanh(logits / cap) * cap
        same("logits and head(final_norm)", trace["logits"], logits)


def products_of(attn, query, key):
    """Scaled q·k, in f64."""
    scale = 1.0
    for name in ("scaling", "softmax_scale", "inv_norm_factor"):
        scale = getattr(attn, name, None) or scale
    if hasattr(attn, "scale_attn"):
        scale = 1 / float(attn.scale_attn)
    return query.double() @ key.double().transpose(-1, -2) * scale


def check_scores(what, config, attn, layout, get, spread, same):
    scores, products = get("scores").double(), products_of(attn, get("q_pos"), spread(get("k_pos")))
    if cap := getattr(attn, "attn_logit_softcapping", None):
        products = torch.tanh(products / cap) * cap
    seen = scores > -math.inf
    extra = torch.where(seen, scores - products, 0.0)
    if is_alibi(config):
        # A bias linear in the distance, with a slope per head; take it off as found in the last row.
        positions = torch.arange(extra.shape[-1], dtype=torch.float64)
        distance = positions - positions[:, None]
        slope = -extra[..., -1, 0] / max(1, extra.shape[-1] - 1)
        extra = torch.where(seen, extra - slope[..., None, None] * distance, 0.0)
        if config.model_type == "falcon":  # which rounds it to bf16, whatever the model's dtype
            extra = torch.where(extra.abs() <= 2.0**-7 * (slope[..., None, None] * distance).abs(), 0.0, extra)
    same(what, extra + products, products)


def is_alibi(config) -> bool:
    return config.model_type in ("bloom", "mpt") or getattr(config, "alibi", False)


def check_residual(i, config, layer, layout, get, same):
    before, attn_out, mlp_out, after = (get(site) for site in ("resid_pre", "attn_out", "mlp_out", "resid_post"))
    if layout.parallel(config):
        return same(f"{i}: resid_post and the sum of its parts", after, before + attn_out + mlp_out)
    if layout.norm_after and layout.norm_after[0](config):
        norms = [at(layer, name) for name in layout.norm_after[1:]]
        with torch.no_grad():
            same(f"{i}: resid_mid and norm(resid_pre + attn_out)", get("resid_mid"), norms[0](before + attn_out))
            return same(f"{i}: resid_post and norm(…)", after, norms[1](get("resid_mid") + mlp_out))
    if layout.residual_from_norm(config):
        same(f"{i}: resid_mid and attn_in + attn_out", get("resid_mid"), get("attn_in") + attn_out)
        return same(f"{i}: resid_post and mlp_in + mlp_out", after, get("mlp_in") + mlp_out)
    same(f"{i}: resid_mid and resid_pre + attn_out", get("resid_mid"), before + attn_out)
    same(f"{i}: resid_post and resid_mid + mlp_out", after, get("resid_mid") + mlp_out)


# --- files ------------------------------------------------------------------------------------------


def save(tensors: dict, path: Path, meta: dict):
    """A safetensors file that is the same, byte for byte, whenever its content is."""
    data = serialise(dict(sorted(tensors.items())), meta)
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])


def weight_files(folder: Path) -> list:
    """The files a folder's weights are in: safetensors before .bin, in the order of their names."""
    for pattern in ("model*.safetensors", "pytorch_model*.bin"):
        if files := sorted(folder.glob(pattern)):
            return files
    raise SystemExit(f"error: no weights in {folder}")


def fingerprint(model: Path) -> str:
    digest = hashlib.sha256()
    files = [model] if model.is_file() else [model / "config.json", *weight_files(model)]
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def resolve(name: str) -> Path:
    path = Path(name)
    if path.exists():
        return path
    from huggingface_hub import snapshot_download

    name, _, revision = name.partition("@")
    kept = ["*.json", "*.safetensors", "tokenizer.model", "*.jinja", "*.txt"]
    folder = Path(snapshot_download(name, revision=revision or None, allow_patterns=kept))
    if not list(folder.glob("*.safetensors")):
        folder = Path(snapshot_download(name, revision=revision or None, allow_patterns=[*kept, "*.bin"]))
    return folder


def source(path: Path) -> dict:
    """What transformers' loaders are given for a folder or a GGUF file."""
    if path.is_file():
        return {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    return {"pretrained_model_name_or_path": path}


def load(path: Path, dtype: str = "f32"):
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        dtype=DTYPES[dtype], attn_implementation="eager", **source(path)
    )
    widths = [getattr(model.config, f"{name}_size", None) or 0 for name in ("hidden", "intermediate", "moe_intermediate")]
    if model._can_set_experts_implementation() and (dtype != "f32" or any(width % 4 for width in widths)):
        model.set_experts_implementation("eager")  # the grouped product asks for rows of 16 bytes
    if getattr(model.config, "alibi", False):
        once(model)
    return model.eval()


def once(model):
    """Falcon's eager attention adds the ALiBi bias that its mask already holds (transformers 5.23); as published, and
    with sdpa, it is added once. So the layers get a bias of zero."""

    def hook(_module, args, kwargs):
        return args, kwargs | {"alibi": torch.zeros_like(kwargs["alibi"])}

    for layer in model.transformer.h:
        layer.self_attention.register_forward_pre_hook(hook, with_kwargs=True)


def metadata(path: Path, model, dtype: str, prompt: str = "") -> dict:
    return {
        "fingerprint": fingerprint(path),
        "prompt": prompt,
        "dtype": dtype,
        "model_type": model.config.model_type,
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
    }


# --- the yardstick, and the greedy continuation -----------------------------------------------------


def drift(narrow: dict, wide: dict) -> dict:
    """How far a run in 16 bits is from the same run in f32: per site the largest and the mean difference."""

    def apart(a, b):
        off = torch.where(a == b, 0.0, (a.double() - b.double()).abs())  # -inf in both is no difference
        return [float(f"{x:.3e}") for x in (off.max().item(), off.mean().item())]

    return {name: apart(x, wide[name]) for name, x in narrow.items() if name != "ids"}


def traced(path: Path, dtype: str, ids: torch.Tensor, verify: bool = True):
    """A model and its trace; a 16-bit run is not held to what only f32 can keep."""
    model = load(path, dtype)
    with Tracer(model) as tracer:
        return model, tracer.run(ids, verify and dtype == "f32"), len(tracer.layers)


@torch.no_grad()
def greedy(model, ids: torch.Tensor, count: int) -> dict:
    found, cache, step = {"ids": [], "seconds": [], "margins": []}, None, ids
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1 << 30
    for _ in range(min(count, limit - ids.shape[1])):
        out = model(input_ids=step, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        top = out.logits[0, -1].float().topk(2)
        found["ids"].append(top.indices[0].item())
        found["seconds"].append(top.indices[1].item())
        found["margins"].append(float(f"{(top.values[0] - top.values[1]).item():.4e}"))
        step = top.indices[:1].view(1, 1)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="folder, GGUF file, or hub id (org/name[@revision])")
    parser.add_argument("prompt", nargs="?", help="text, encoded as the model's tokenizer does by default")
    parser.add_argument("--ids", help="token ids instead of a text: 1,2,3")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--sites", help=f"only these: {','.join(SITES)}")
    parser.add_argument("--layers", help="only these: 0,5,11")
    parser.add_argument("--yardstick", default="", help="of an f32 reference: dtypes to record PyTorch's own drift in, bf16,f16")
    parser.add_argument("--greedy", type=int, default=16, metavar="N", help="tokens to continue with (16)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()
    if (args.prompt is None) == (args.ids is None):
        parser.error("give a prompt or --ids")
    sites = set(args.sites.split(",")) if args.sites else set(SITES)
    if unknown := sites - set(SITES):
        parser.error(f"no such site: {', '.join(sorted(unknown))}")

    torch.set_num_threads(args.threads)
    path = resolve(args.model)
    if args.ids is not None:
        ids = [int(number) for number in args.ids.split(",")]
    else:
        ids = transformers.AutoTokenizer.from_pretrained(**source(path))(args.prompt).input_ids
    yardsticks = [name for name in args.yardstick.split(",") if name]
    if unknown := set(yardsticks) - {"bf16", "f16"}:
        parser.error(f"no such yardstick: {', '.join(sorted(unknown))}; bf16 and f16 are")
    if args.dtype != "f32" and set(yardsticks) - {args.dtype}:
        parser.error("the yardstick of a 16-bit reference is its own")
    config = transformers.AutoConfig.from_pretrained(**source(path)).get_text_config()
    if not ids or not all(0 <= number < config.vocab_size for number in ids):
        parser.error("no ids, or one outside the vocabulary")
    batch, drifts = torch.tensor([ids]), {}
    model, trace, n_layers = traced(path, args.dtype, batch)
    continued = greedy(model, batch, args.greedy)
    meta = metadata(path, model, args.dtype, args.prompt or "")
    if args.dtype != "f32":
        drifts[args.dtype] = drift(trace, traced(path, "f32", batch)[1])
    for name in yardsticks if args.dtype == "f32" else []:
        drifts[name] = drift(traced(path, name, batch)[1], trace)
    layers = {int(number) for number in args.layers.split(",")} if args.layers else set(range(n_layers))
    if missing := layers - set(range(n_layers)):
        parser.error(f"no such layer: {sorted(missing)}; the model has {n_layers}")

    def wanted(name):
        layer, _, site = name.rpartition(".")
        return name == "ids" or (site in sites and (not layer or int(layer) in layers))

    trace = {name: x for name, x in trace.items() if wanted(name)}
    drifts = {dtype: {name: x for name, x in sites.items() if wanted(name)} for dtype, sites in drifts.items()}
    meta |= {"model": args.model.rstrip("/").rsplit("/", 1)[-1], "greedy": json.dumps(continued)}
    if drifts:
        meta["drift"] = json.dumps(drifts)
    save(trace, args.output, meta)
    print(f"{args.output}: {len(trace) - 1} sites, {len(ids)} tokens", file=sys.stderr)


if __name__ == "__main__":
    main()
