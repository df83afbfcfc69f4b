"""Makes the golden GGUF files: tiny random checkpoints stored as llama.cpp's converter stores them.

The reference is transformers' model with the weights that the file's blocks stand for, dequantised by the
gguf package. Legacy blocks are quantised by it too; K blocks, which it cannot make, are random bits with
scales of a sensible size. The conventions are those of convert_hf_to_gguf.py: llama's query and key rows
are permuted for interleaved rotation, Gemma's norms have 1 added, GPT-2's matrices are transposed, and
llama3 scaling is a tensor of frequency factors.
"""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Callable

import gguf
import numpy as np
import torch
import transformers
from gguf import GGMLQuantizationType as Q
from tokenizers.pre_tokenizers import ByteLevel

import golden_gguf_dense as dense
import golden_gguf_moe
import reference
from golden_cases import GPT2, SMALL, rope
from golden_make import randomise, references, rng

# Enough to tell which tensor is read wrongly; how the family computes is its own cases' matter.
SITES = ("ids", "embed", "q", "k", "attn_out", "resid_post", "logits")
LEGACY = (Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0)
K_QUANTS = (Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K)
# Architectures whose query and key rows are permuted.
PERMUTED = ("llama", "granitemoe", *dense.PERMUTED)
# Where in a K block its f16 scales stand.
SCALES = {Q.Q2_K: (80, 82), Q.Q3_K: (108,), Q.Q4_K: (0, 2), Q.Q5_K: (0, 2), Q.Q6_K: (208,)}


@dataclass(frozen=True)
class GgufCase:
    name: str
    arch: str
    config: dict
    types: dict  # a part of a tensor's name → its type; "" is the default. Vectors and norms are F32
    vocabulary: str = "gpt2"  # gpt2, llama, or none: a list too short for bytes
    pre: str = "default"
    keys: Callable = lambda writer: None  # what else is written
    trace: int = 9
    lengths: tuple = (1, 12)
    cache_differs: bool = False
    model_type: str | None = None  # where transformers' name is another


TEMPLATE = "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}</s>{% endfor %}"
LLAMA = SMALL | dict(num_key_value_heads=2, intermediate_size=64)
# One layer, one kv head: K blocks are 256 values wide, and so is the model.
WIDE = SMALL | dict(hidden_size=256, num_hidden_layers=1, num_key_value_heads=1, head_dim=16, intermediate_size=32)

GGUF_CASES = [
    GgufCase(
        "llama_half",
        "llama",
        LLAMA
        | dict(attention_bias=True, num_attention_heads=2, num_key_value_heads=1)
        | rope(
            "llama3", 100.0, factor=8.0, low_freq_factor=0.25, high_freq_factor=1.0, original_max_position_embeddings=8
        ),
        {"": Q.F16, "token_embd": Q.BF16, "ffn_down": Q.F32},
        "llama",
        keys=lambda writer: writer.add_chat_template(TEMPLATE),
    ),
    GgufCase(
        "llama_legacy",
        "llama",
        LLAMA | dict(head_dim=16, tie_word_embeddings=True) | rope("linear", 100.0, factor=2.0),
        {
            "": Q.Q8_0,
            "token_embd": Q.Q8_0,
            "attn_q": Q.Q4_0,
            "attn_k": Q.Q4_1,
            "attn_v": Q.Q5_0,
            "attn_output": Q.Q5_1,
            "ffn_down": Q.Q4_1,
            "ffn_up": Q.Q5_1,
        },
        pre="smollm",
    ),
    GgufCase(
        "llama_k",
        "llama",
        WIDE,
        {
            "token_embd": Q.Q6_K,
            "output": Q.Q6_K,
            "attn_q": Q.Q2_K,
            "attn_k": Q.Q3_K,
            "attn_v": Q.Q4_K,
            "attn_output": Q.Q8_0,
            "ffn_gate": Q.Q5_K,
            "ffn_up": Q.Q4_K,
            "ffn_down": Q.Q5_0,
        },
        "none",
    ),
    GgufCase(
        "qwen2",
        "qwen2",
        LLAMA
        | dict(num_attention_heads=2, num_key_value_heads=1)
        | rope("yarn", 100.0, factor=4.0, original_max_position_embeddings=8),
        {"": Q.Q8_0},
        pre="qwen2",
        keys=lambda writer: writer.add_add_bos_token(False),
    ),
    GgufCase(
        "qwen3",
        "qwen3",
        LLAMA | dict(head_dim=16, tie_word_embeddings=True) | rope(theta=1e6),
        {"": Q.Q4_1, "token_embd": Q.Q8_0},
        pre="qwen2",
        keys=lambda writer: writer.add_add_bos_token(False),
    ),
    GgufCase("gpt2", "gpt2", GPT2 | dict(n_positions=32), {"": Q.Q5_1, "token_embd": Q.Q8_0}, pre="gpt-2"),
    GgufCase(
        "gemma2",
        "gemma2",
        LLAMA
        | dict(head_dim=16, query_pre_attn_scalar=16, sliding_window=4)
        | dict(attn_logit_softcapping=3.0, final_logit_softcapping=5.0),
        {"": Q.Q5_0, "token_embd": Q.Q8_0},
        "llama",
        keys=lambda writer: writer.add_add_space_prefix(False),
    ),
]
GGUF_CASES += [GgufCase(**case) for case in golden_gguf_moe.CASES + dense.CASES]


# --- vocabularies -----------------------------------------------------------------------------------


MERGES = "Ġ t|h e|i n|Ġ a|r e|Ġt he|e r|o n|Ġ s|a t|Ġ w|o r|in g|Ġ o|1 2|n d".split("|")
PIECES = "▁|e|t|a|o|i|n|s|h|r|d|l|▁t|he|▁the|in|▁a|re|er|on|at|or|ing|nd|.|,|1|2|é".split("|")


def vocabulary(kind: str, size: int):
    """Tokens, scores (or None), types, merges (or None)."""
    T = gguf.TokenType
    if kind == "gpt2":
        tokens = sorted(ByteLevel.alphabet()) + [merge.replace(" ", "") for merge in MERGES]
        tokens += ["<|endoftext|>", "<|user|>"]
        return tokens, None, [T.NORMAL] * (len(tokens) - 2) + [T.CONTROL, T.USER_DEFINED], MERGES
    if kind == "llama":
        tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + PIECES
        scores = [0.0] * 259 + [-float(n) for n in range(len(PIECES))]
        types = [T.UNKNOWN, T.CONTROL, T.CONTROL] + [T.BYTE] * 256 + [T.NORMAL] * len(PIECES)
        return tokens, scores, types, None
    return None, None, None, None


def add_vocabulary(writer, case: GgufCase, tokens, scores, types, merges):
    if tokens is None:
        writer.add_tokenizer_model("none")
        return
    writer.add_tokenizer_model("llama" if case.vocabulary == "llama" else "gpt2")
    writer.add_tokenizer_pre(case.pre)
    writer.add_token_list(tokens)
    if scores:
        writer.add_token_scores(scores)
    writer.add_token_types(types)
    if merges:
        writer.add_token_merges(merges)
    bos, eos = (1, 2) if case.vocabulary != "gpt2" else (tokens.index("<|endoftext|>"),) * 2
    writer.add_bos_token_id(bos)
    writer.add_eos_token_id(eos)


# --- tensors ----------------------------------------------------------------------------------------


def stored(arch: str, config, name: str, x: np.ndarray) -> np.ndarray:
    """A tensor of transformers' as llama.cpp's converter writes it."""
    if arch in PERMUTED and (heads := permuted_heads(config, name)):
        halves = x.reshape(heads, 2, x.shape[0] // heads // 2, *x.shape[1:])
        return halves.swapaxes(1, 2).reshape(x.shape)
    if arch == "gpt2" and is_conv1d(name):
        return np.ascontiguousarray(x.T)
    if (order := dense.thirds(arch, config, name)) is not None:
        return x[order]
    return x + 1 if arch in dense.PLUS_ONE and name.endswith("norm.weight") else x


def restored(arch: str, config, name: str, x: np.ndarray) -> np.ndarray:
    """The way back."""
    if arch in PERMUTED and (heads := permuted_heads(config, name)):
        pairs = x.reshape(heads, x.shape[0] // heads // 2, 2, *x.shape[1:])
        return pairs.swapaxes(1, 2).reshape(x.shape)
    if arch == "gpt2" and is_conv1d(name):
        return np.ascontiguousarray(x.T)
    if (order := dense.thirds(arch, config, name)) is not None:
        return x[np.argsort(order)]
    return x - 1 if arch in dense.PLUS_ONE and name.endswith("norm.weight") else x


def permuted_heads(config, name: str) -> int:
    if ".q_proj." in name:
        return config.num_attention_heads
    return config.num_key_value_heads if ".k_proj." in name else 0


def is_conv1d(name: str) -> bool:
    return name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight"))


def quantise(x: np.ndarray, kind: Q, key) -> np.ndarray:
    """Blocks of `kind` for `x`; random ones of about its size where gguf cannot make them."""
    if kind not in K_QUANTS:
        return gguf.quants.quantize(x, kind)
    per_block, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng(*key, "blocks").integers(0, 256, (x.size // per_block, size), dtype=np.uint8)
    # Two scales: minima are taken off that leave the values about zero. First as if of size one, then right.
    unit = {Q.Q2_K: (1.0, 1.5), Q.Q4_K: (1.0, 7.5), Q.Q5_K: (1.0, 15.5)}.get(kind, (1.0,))
    noise = rng(*key, "scales").uniform(0.8, 1.25, (len(blocks), 1))
    for size_now in (1e-3, None):
        if size_now is None:
            now = gguf.quants.dequantize(blocks, kind)
            size_now = 1e-3 * x.std() / now.std()
        for place, relative in zip(SCALES[kind], unit):
            scale = (size_now * relative * noise).astype(np.float16)
            blocks[:, place : place + 2] = scale.view(np.uint8)
    return blocks.reshape(*x.shape[:-1], -1)


def kind_of(case: GgufCase, name: str, x: np.ndarray) -> Q:
    if x.ndim == 1 or name.endswith(("_norm.weight", ".bias")) or name.startswith("position_embd"):
        return Q.F32
    return next((case.types[part] for part in name.split(".") if part in case.types), case.types.get(""))


# --- one case ---------------------------------------------------------------------------------------


def make_gguf(_family: str, case: GgufCase, folder: Path):
    tokens, *rest = vocabulary(case.vocabulary, case.config["vocab_size"])
    sizes = {"vocab_size": len(tokens)} if tokens else {}
    config = transformers.AutoConfig.for_model(case.model_type or case.arch, **case.config | sizes)
    model = transformers.AutoModelForCausalLM.from_config(
        config, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    key = ("gguf", case.name)
    randomise(model, key, torch.float32)

    path = folder / "model.gguf"
    writer = gguf.GGUFWriter(path, case.arch)
    writer.add_name(f"tiny {case.name}")
    add_parameters(writer, case.arch, config)
    dense.add_keyed(writer, model)
    case.keys(writer)
    add_vocabulary(writer, case, tokens, *rest)
    if factors := frequency_factors(case.arch, config):
        writer.add_tensor("rope_freqs.weight", np.array(factors, np.float32))
    if case.arch not in dense.ARCHITECTURES:
        golden_gguf_moe.add_rope_factors(writer, config)
    write_tensors(writer, case, config, model, key)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    references(key, case, folder, model, reference.metadata(path, model, "f32"), SITES)


def write_tensors(writer, case: GgufCase, config, model, key):
    """Writes every tensor, and sets the model's to what was written."""
    arch = next(arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == case.arch)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    find = lambda name: names.get_name(name, try_suffixes=(".weight", ".bias"))
    named = lambda name: find(name) or find(name.removeprefix("transformer."))
    with torch.no_grad():
        stacked = dense.write_stacks(writer, case.arch, model)
        for name, parameter in model.named_parameters():
            if id(parameter) in stacked or dense.is_key(name):
                continue
            for to, part in golden_gguf_moe.parts(case.arch, name, parameter) or [(named(name), parameter)]:
                x = stored(case.arch, config, name, part.numpy())
                kind = kind_of(case, to, x)
                blocks = quantise(np.ascontiguousarray(x, np.float32), kind, (*key, to))
                raw = None if kind in (Q.F32, Q.F16) else kind
                writer.add_tensor(to, blocks, raw_dtype=raw)
                values = gguf.quants.dequantize(blocks, kind).reshape(x.shape)
                part.copy_(torch.from_numpy(restored(case.arch, config, name, values).copy()))


def add_parameters(writer, arch: str, config):
    if arch in dense.ARCHITECTURES:
        writer.add_file_type(gguf.LlamaFileType.GUESSED)
        return dense.add_parameters(writer, arch, config)
    if arch == "gpt2":
        writer.add_block_count(config.n_layer)
        writer.add_context_length(config.n_positions)
        writer.add_embedding_length(config.n_embd)
        writer.add_feed_forward_length(4 * config.n_embd)
        writer.add_head_count(config.n_head)
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
        writer.add_file_type(gguf.LlamaFileType.GUESSED)
        return
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_file_type(gguf.LlamaFileType.GUESSED)
    golden_gguf_moe.add_parameters(writer, arch, config)
    if arch != "qwen2" and (head_dim := getattr(config, "head_dim", None)):
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if arch == "gemma2":  # neither its rotary base nor its score scale is written
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
        writer.add_sliding_window(config.sliding_window)
        return
    scaling = config.rope_parameters
    if scaling["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(getattr(gguf.RopeScalingType, scaling["rope_type"].upper()))
        writer.add_rope_scaling_factor(scaling["factor"])
    if scaling["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
    writer.add_rope_freq_base(scaling["rope_theta"])
    if arch == "llama":
        writer.add_vocab_size(config.vocab_size)
        writer.add_rope_dimension_count(config.head_dim or config.hidden_size // config.num_attention_heads)


def frequency_factors(arch: str, config) -> list:
    """What llama3 scaling divides each frequency by, as a ratio of transformers' own two."""
    if arch not in ("llama", "apertus") or config.rope_parameters["rope_type"] != "llama3":
        return []
    scaled, _ = transformers.modeling_rope_utils.ROPE_INIT_FUNCTIONS["llama3"](config)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    plain = 1 / config.rope_parameters["rope_theta"] ** (np.arange(0, head_dim, 2) / head_dim)
    return list(plain / scaled.numpy())


def make_blocks(_family: str, _case, folder: Path):
    """Three rows of every type, and the values they stand for."""
    writer, values = gguf.GGUFWriter(folder / "blocks.gguf", "llama"), {}
    for kind in (Q.F32, Q.F16, Q.BF16, *LEGACY, *K_QUANTS):
        key = ("gguf", "blocks", kind.name)
        x = rng(*key).standard_normal((3, 256)).astype(np.float32)
        x[1, :128] = 0.0
        blocks = quantise(x, kind, key)
        writer.add_tensor(kind.name.lower(), blocks, raw_dtype=None if kind in (Q.F32, Q.F16) else kind)
        values[kind.name.lower()] = torch.from_numpy(gguf.quants.dequantize(blocks, kind).reshape(x.shape).copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    reference.save(values, folder / "dequantized.safetensors", {"gguf": version("gguf")})
    print(f"gguf/blocks: {sum(p.stat().st_size for p in folder.iterdir()) / 1000:.0f} kB")
