#!/usr/bin/env python3
"""Makes tests/golden/sampling.json: which tokens remain, and with which probabilities, after
transformers' logits processors and warpers, each alone and in chains.

    python scripts/golden_sampling.py                 # writes it
    python scripts/golden_sampling.py --check         # remakes and compares

The chains come from transformers itself: `_get_logits_processor` decides which processors there are
and in which order, so that the order is tested and not only the formulas.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

OUT = Path(__file__).resolve().parent.parent / "tests" / "golden" / "sampling.json"
VOCAB = 61
EOS = [2, 7]

CASES = {
    "nothing": dict(do_sample=True, top_k=0),
    "greedy": dict(),
    "temperature": dict(do_sample=True, top_k=0, temperature=0.6),
    "hot": dict(do_sample=True, top_k=0, temperature=2.5),
    "top_k": dict(do_sample=True, top_k=5),
    "top_k_default": dict(do_sample=True),
    "top_k_of_all": dict(do_sample=True, top_k=500),
    "top_p": dict(do_sample=True, top_k=0, top_p=0.8),
    "top_p_small": dict(do_sample=True, top_k=0, top_p=0.01),
    "top_p_nearly_all": dict(do_sample=True, top_k=0, top_p=0.999),
    "min_p": dict(do_sample=True, top_k=0, min_p=0.1),
    "typical_p": dict(do_sample=True, top_k=0, typical_p=0.6),
    "typical_p_small": dict(do_sample=True, top_k=0, typical_p=0.05),
    "epsilon": dict(do_sample=True, top_k=0, epsilon_cutoff=0.03),
    "epsilon_above_all": dict(do_sample=True, top_k=0, epsilon_cutoff=0.9),
    "eta": dict(do_sample=True, top_k=0, eta_cutoff=0.05),
    "repetition": dict(do_sample=True, top_k=0, repetition_penalty=1.3),
    "repetition_below_one": dict(do_sample=True, top_k=0, repetition_penalty=0.7),
    "ngram_1": dict(do_sample=True, top_k=0, no_repeat_ngram_size=1),
    "ngram_2": dict(do_sample=True, top_k=0, no_repeat_ngram_size=2),
    "ngram_3": dict(do_sample=True, top_k=0, no_repeat_ngram_size=3),
    "ngram_long": dict(do_sample=True, top_k=0, no_repeat_ngram_size=40),
    "bias": dict(do_sample=True, top_k=0, sequence_bias=[[[5], 4.0], [[9], -3.0], [[11, 4, 6], 5.0], [[4, 11], 9.0]]),
    "bad_words": dict(do_sample=True, top_k=0, bad_words_ids=[[5], [2], [11, 4, 6], [3, 3], [2, 7]]),
    "min_length": dict(do_sample=True, top_k=0, min_length=200),
    "min_length_passed": dict(do_sample=True, top_k=0, min_length=10),
    "min_new_tokens": dict(do_sample=True, top_k=0, min_new_tokens=50),
    "suppress": dict(do_sample=True, top_k=0, suppress_tokens=[1, 5, 60]),
    "begin_suppress": dict(do_sample=True, top_k=0, begin_suppress_tokens=[1, 5, 60]),
    "temperature_top_k_top_p": dict(do_sample=True, temperature=0.7, top_k=20, top_p=0.9),
    "top_k_top_p_min_p": dict(do_sample=True, top_k=30, top_p=0.95, min_p=0.05),
    "top_p_typical": dict(do_sample=True, top_k=0, top_p=0.9, typical_p=0.7),
    "everything_cut": dict(do_sample=True, temperature=1.4, top_k=40, top_p=0.95, min_p=0.02, typical_p=0.9,
                           epsilon_cutoff=0.004, eta_cutoff=0.01),
    "everything_penalised": dict(do_sample=True, top_k=0, repetition_penalty=1.2, no_repeat_ngram_size=3,
                                 bad_words_ids=[[8]], min_new_tokens=50, suppress_tokens=[10],
                                 sequence_bias=[[[4], 2.0], [[11, 4, 6], 1.5]]),
    "everything": dict(do_sample=True, temperature=0.8, top_k=25, top_p=0.9, min_p=0.01, typical_p=0.95,
                       repetition_penalty=1.1, no_repeat_ngram_size=2, suppress_tokens=[10],
                       sequence_bias=[[[4], 2.0]]),
    "greedy_penalised": dict(repetition_penalty=1.5, no_repeat_ngram_size=2, temperature=0.1, top_k=3),
}


def contexts():
    """Logits of three shapes, each after a prompt and some generated tokens that repeat themselves."""
    rng = np.random.default_rng(11)
    ids = rng.integers(0, 14, 40).tolist() + [11, 4, 6, 3, 11, 4]
    peaked = rng.standard_normal(VOCAB) * 3
    flat = rng.standard_normal(VOCAB) * 0.3 - 5
    steps = np.round(rng.standard_normal(VOCAB) * 2) / 2 + 0.25  # many equal logits
    for name, logits in (("peaked", peaked), ("flat", flat), ("steps", steps)):
        yield name, ids[:30], ids[30:], np.float32(logits)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    config = LlamaConfig(vocab_size=VOCAB, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                         num_attention_heads=1, num_key_value_heads=1)
    model = LlamaForCausalLM(config)
    cases = []
    for shape, prompt, generated, logits in contexts():
        for name, options in CASES.items():
            # Equal logits are cut in an order of torch's own by these; elsewhere ties are kept whole.
            if shape == "steps" and ("top_p" in options):
                continue
            said = [] if name == "begin_suppress" else generated
            ids = torch.tensor([prompt + said])
            generation, kwargs = model._prepare_generation_config(
                GenerationConfig(eos_token_id=EOS, pad_token_id=0, **options)
            )
            model._prepare_special_tokens(generation, False, device="cpu")
            chain = model._get_logits_processor(generation, input_ids_seq_length=len(prompt))
            scores = chain(ids, torch.tensor(logits)[None].clone())[0]
            probabilities = torch.softmax(scores.double(), -1)
            left = [int(i) for i in torch.nonzero(scores > -torch.inf).flatten()]
            cases.append({
                "name": f"{name}/{shape}",
                "processors": [type(p).__name__ for p in chain],
                "options": options,
                "said": len(said),
                "logits": shape,
                "argmax": int(scores.argmax()),
                "left": left,
                "probabilities": [float(f"{probabilities[i]:.9g}") for i in left],
            })
    shapes = {name: [float(x) for x in logits] for name, _, _, logits in contexts()}
    _, prompt, generated, _ = next(iter(contexts()))
    data = {"versions": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
            "eos": EOS, "prompt": prompt, "generated": generated, "logits": shapes, "cases": cases}
    text = "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in data.items() if k != "cases")
    text += ',\n"cases": [\n' + ",\n".join(json.dumps(case) for case in cases) + "\n]}\n"
    if check:
        assert OUT.read_text() == text, f"{OUT} is not what this script makes"
    else:
        OUT.parent.mkdir(parents=True, exist_ok=True)
        OUT.write_text(text)
    print(f"{OUT.name}: {len(cases)} cases, {len(text)} bytes")


if __name__ == "__main__":
    main()
