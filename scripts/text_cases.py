"""Conversations, templates, texts and tiny tokenizers, and what transformers makes of them. See check_text.py."""

import datetime
import json
import pathlib
import random

TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "The weather in a <city> & when it's due",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "Name, e.g. \"Zürich\""},
        "days": {"type": "integer", "default": 1, "minimum": 0.5},
        "unit": {"type": "string", "enum": ["C", "F"]}}, "required": ["city"]}}}]
CALL = {"role": "assistant", "content": "", "tool_calls": [
    {"id": "call00001", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 2}}}]}
SYSTEM = {"role": "system", "content": "You are terse."}
USER = {"role": "user", "content": "Hello <there> & 'you'\n"}
ANSWER = {"role": "assistant", "content": "  Hi! \"Grüezi\" 🦙 "}
AGAIN = {"role": "user", "content": " And now? "}
NOW = datetime.datetime(2026, 3, 5, 7, 8, 9)

CONVERSATIONS = [
    {"messages": [USER], "add_generation_prompt": True},
    {"messages": [USER]},
    {"messages": [SYSTEM, USER], "add_generation_prompt": True},
    {"messages": [SYSTEM, USER, ANSWER, AGAIN], "add_generation_prompt": True},
    {"messages": [USER, ANSWER]},
    {"messages": [SYSTEM, USER, ANSWER], "continue_final_message": True},
    {"messages": [SYSTEM, USER], "tools": TOOLS, "add_generation_prompt": True},
    {"messages": [USER], "tools": TOOLS + TOOLS, "add_generation_prompt": True},
    {"messages": [USER, CALL, {"role": "tool", "content": "{\"t\": 21.5}", "name": "get_weather", "tool_call_id": "call00001"}],
     "tools": TOOLS, "add_generation_prompt": True},
    {"messages": [USER, CALL, {"role": "tool", "content": "rain", "name": "get_weather", "tool_call_id": "call00001"},
                  {"role": "assistant", "content": "Rain."}, AGAIN], "tools": TOOLS, "add_generation_prompt": True},
    {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": CALL["tool_calls"]}], "tools": TOOLS},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]}],
     "add_generation_prompt": True},
    {"messages": [USER, {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nYes."}, AGAIN], "add_generation_prompt": True},
    {"messages": [USER, {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}, AGAIN], "add_generation_prompt": True},
    {"messages": [USER], "add_generation_prompt": True, "variables": {"enable_thinking": False, "thinking": False}},
    {"messages": [USER], "add_generation_prompt": True,
     "variables": {"enable_thinking": True, "thinking": True, "reasoning_effort": "high"}},
    {"messages": [SYSTEM, USER], "add_generation_prompt": True, "documents": [{"title": "A", "text": "B"}]},
    {"messages": [USER, AGAIN]},
    {"messages": [{"role": "narrator", "content": "Once"}]},
]

# One feature after the other, written for this test.
TEMPLATES = {
    "chatml": "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
              "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "whitespace": "{%- for m in messages %}\n    {% if loop.first %}\n  first\n    {% endif %}\n\t{{- m.role }}\n{# a note #}\n"
                  "  {%+ if true %} kept {% endif %}\n{%- endfor -%}\n\nend\n",
    "control": "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{% if loop.index > 3 %}{% break %}{% endif %}"
               "[{{ loop.index0 }}/{{ loop.length }} {{ m.role }} {{ loop.previtem.role if loop.previtem is defined }}]{% endfor %}",
    "refuses": "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
               "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
               "{{ raise_exception('Roles must alternate, got ' ~ m.role) }}{% endif %}{{ m.role }}{% endfor %}",
    "python": "{{ [true, False, none, 1, 2.5, 'it\\'s', \"a\\\"b\", '🦙', {'k': [1, 'v']}, (1, 2)] }}|{{ none }}|{{ true }}|{{ 3 / 2 }}|"
              "{{ 7 // 2 }}|{{ 2 ** 5 }}|{{ 1.0 }}|{{ undefined_thing }}|{{ {} or [] or 0 or '' or 'end' }}|"
              "{{ 'a' ~ 1 ~ none ~ true ~ 1.5 }}|{{ 'x' * 3 }}|{{ [1] + [2] }}|{{ 'abc'[1:] }}|{{ 'abc'[::-1] }}|{{ [1,2,3][-1] }}|{{ [1,2,3][:2] }}",
    "truth": "{% for v in [none, true, false, 0, 1, 0.0, '', 'x', [], [0], {}, {'a': 1}, undefined_thing] %}{{ 1 if v else 0 }}"
             "{{ 1 if v is none else 0 }}{{ 1 if v is defined else 0 }}{{ 1 if v is string else 0 }}{{ 1 if v is mapping else 0 }}"
             "{{ 1 if v is iterable else 0 }}{{ 1 if v is sequence else 0 }}{{ 1 if v is number else 0 }}{{ 1 if v is boolean else 0 }} {% endfor %}",
    "methods": "{{ ' a b '.strip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'a,b,c'.split(',') }}|{{ 'a,b,c'.split(',', 1) }}|{{ 'a,b,c'.rsplit(',', 1) }}|"
               "{{ '  a  b '.split() }}|{{ 'a,b'.partition(',') }}|{{ 'a,b,c'.rpartition(',')[0] }}|{{ 'abc'.startswith('ab') }}|"
               "{{ 'abc'.endswith(('x', 'c')) }}|{{ 'abc'.replace('b', 'x') }}|{{ 'aBc'.upper() }}|{{ 'ABC'.lower() }}|{{ 'hello world'.title() }}|"
               "{{ 'hello World'.capitalize() }}|{{ 'a{}b{}'.format(1, 'x') }}|{{ '%s-%d' | format('a', 3) }}|{{ ','.join(['a', 'b']) }}|{{ 'abcb'.find('b') }}|"
               "{{ 'abcb'.rfind('b') }}|{{ 'abcb'.count('b') }}|{{ 'prefix-x'.removeprefix('prefix-') }}|{{ 'x.txt'.removesuffix('.txt') }}|"
               "{{ 'a\nb\n'.splitlines() }}|{{ '12'.isdigit() }}|{{ {'a': 1}.items() | list }}|{{ {'a': 1, 'b': 2}.keys() | list }}|"
               "{{ {'a': 1}.values() | list }}|{{ {'a': 1}.get('b', 2) }}|{{ {'a': 1}.get('b') }}|{{ 'x\n'.rstrip('\n') }}|{{ ' x'.lstrip() }}",
    "filters": "{{ [3, 1, 2] | sort | join('-') }}|{{ messages | map(attribute='role') | list }}|{{ messages | selectattr('role', 'equalto', 'user') | list | length }}|"
               "{{ messages | rejectattr('role', 'in', ['user', 'system']) | map(attribute='role') | join(',') }}|{{ 'a' | default('b') }}|"
               "{{ nothing | default('b') }}|{{ '' | default('b', true) }}|{{ ' x ' | trim }}|{{ 'ab' | upper }}|{{ 'AB' | lower }}|{{ [1, 2] | first }}|{{ [1, 2] | last }}|"
               "{{ 'abc' | length }}|{{ '5' | int + 1 }}|{{ 5 | string + 'x' }}|{{ 1.26 | round(1) }}|{{ 'a\nb' | indent(2) }}|{{ 'a\nb' | indent(2, true) }}|"
               "{{ {'b': 1, 'a': 2} | dictsort }}|{{ [1, 1, 2] | unique | list }}|{{ [1, 2, 3] | reverse | list }}|{{ {'a': 1} | items | list }}|{{ 'a-b' | replace('-', '+') }}|"
               "{{ 'hello' | capitalize }}|{{ -3 | abs }}|{{ [1, 2, 3] | sum }}|{{ [1, 2] | max }}|{{ 'abc' | list }}|{{ [1, 2, 3, 4] | batch(2) | list }}|{{ '<' | e }}",
    "json": "{{ messages | tojson }}\n{{ tools | tojson(indent=2) }}\n{{ {'b': 1.0, 'a': [], 'c': {}, 'é': '\\u0007\\n\\t\"<>&\\'🦙', 'f': 1e20, 'g': 0.00001, 'n': none, 't': true} | tojson }}\n"
            "{{ {'b': 1, 'a': [1, {'x': 2}]} | tojson(separators=(',', ':'), sort_keys=true) }}\n{{ 'é🦙' | tojson(ensure_ascii=true) }}\n{{ [] | tojson(indent=4) }}{{ {'a': {}} | tojson(indent=1) }}",
    "scopes": "{% set ns = namespace(n=0, last='') %}{% set x = 'out' %}{% for m in messages %}{% set x = m.role %}{% set ns.n = ns.n + 1 %}{% set ns.last = x %}{% endfor %}"
              "{{ ns.n }}{{ ns.last }}{{ x }}{% set block %}<{{ x }}>{% endset %}{{ block }}{% with y = 1 %}{{ y }}{% endwith %}{{ y is defined }}"
              "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% filter upper %}up{% endfilter %}",
    "macros": "{% macro say(m, end='!') %}{{ m.role }}{{ end }}{% endmacro %}{% macro wrap() %}({{ caller() }}){% endmacro %}"
              "{% for m in messages %}{{ say(m) }}{{ say(m, end='?') }}{% endfor %}{% call wrap() %}in{% endcall %}"
              "{% macro tree(n) %}{{ n }}{% if n > 0 %}{{ tree(n - 1) }}{% endif %}{% endmacro %}{{ tree(3) }}",
    "generation": "{% for m in messages %}{% if m.role == 'assistant' %}{%- generation -%} {{ m.content }} {%- endgeneration %}{% else %}{{ m.role }}{% endif %}"
                  "{% generation %}{% set leak = 1 %}{% endgeneration %}{{ leak is defined }}{% endfor %}",
    "clock": "{{ strftime_now('%Y-%m-%d %H:%M:%S %B %b %A %a %j %d %y %p %I') }}{% if strftime_now is defined %}!{% endif %}",
    "variables": "{{ bos_token }}{{ eos_token }}{{ pad_token is defined }}{{ tools is none }}{{ documents is none }}{{ enable_thinking | default('unset') }}"
                 "{{ messages[-1].reasoning_content }}{{ messages[1].thinking if messages | length > 1 }}{% for d in documents or [] %}{{ d.title }}={{ d['text'] }}{% endfor %}",
    "content": "{% for m in messages %}{% if m.content is string %}{{ m.content | trim }}{% elif m.content is iterable %}{% for p in m.content %}{{ p.text }}{% endfor %}{% endif %}"
               "{% if m.tool_calls %}{% for c in m.tool_calls %}{{ c.function.name }}{{ c.function.arguments | tojson }}{% endfor %}{% endif %}{{ 'name' in m }}{{ m.get('name', '-') }}|{% endfor %}",
    "operators": "{{ 1 < 2 < 3 }}{{ 'a' in 'abc' }}{{ 'k' in {'k': 1} }}{{ 2 not in [1] }}{{ not true }}{{ 5 % 3 }}{{ -5 // 2 }}{{ -5 % 3 }}{{ 1 == 1.0 }}{{ '1' == 1 }}{{ 'a' < 'b' }}"
                 "{{ (1 if false) is defined }}{{ 1 is divisibleby 1 }}{{ 3 is odd }}{{ 'x' is eq 'x' }}{{ [1, 2] == [1, 2] }}{{ {'a': 1} == {'a': 1} }}{{ none == none }}{{ true and 'x' }}{{ '' or 'y' }}",
    "ranges": "{% for i in range(3) %}{{ i }}{{ loop.cycle('a', 'b') }}{{ loop.last }}{{ loop.revindex }}{% else %}none{% endfor %}{% for i in [] %}{% else %}empty{% endfor %}"
              "{% for k, v in {'x': 1, 'y': 2}.items() %}{{ k }}{{ v }}{% endfor %}{% for i in range(5, 0, -2) %}{{ i }}{% endfor %}{% for m in messages if m.role == 'user' %}{{ loop.index }}{% endfor %}"
              "{% for m in messages | reverse %}{{ m.role[0] }}{% endfor %}{{ dict(a=1, b=2) }}{{ messages[1:] | length }}{{ messages[::-1][0].role }}",
}
TEMPLATES = {name: {"source": source, "tokens": {"bos_token": "<s>", "eos_token": "</s>"}} for name, source in TEMPLATES.items()}


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def render(template: dict, case: dict) -> dict:
    """The case with what transformers renders: `text`, or `refused` where it raises."""
    import transformers.utils.chat_template_utils as reference

    reference.datetime = Clock
    options = {key: case[key] for key in ["tools", "documents", "add_generation_prompt", "continue_final_message"] if key in case}
    # As apply_chat_template does before it renders.
    messages = [{key: value for key, value in message.items() if value is not None} for message in case["messages"]]
    try:
        texts, _ = reference.render_jinja_template([messages], chat_template=template["source"],
                                                   **options, **{**template["tokens"], **case.get("variables", {})})
        return {**case, "text": texts[0]}
    except Exception as error:  # whatever: a template may fail in any way
        return {**case, "refused": f"{type(error).__name__}: {error}"}


def texts(vectors: pathlib.Path) -> list[str]:
    """Texts that tokenizers disagree on: llama.cpp's own, and noise."""
    found = vectors.read_text().split("\n__ggml_vocab_test__\n")
    random.seed(20)
    alphabets = ["abc XYZ", " \t\n\r", "0123456789.,", "'sStTrReE llLLdD", "äöüßéèñçø", "漢字仮名かなカナ한국어", "🦙🚀😶‍🌫️👩‍👩‍👧", "()[]{}<>|!?#$%^&*~`\"\\/_-+=",
                 "\u00a0\u2003\u200b\u3000\u0301\u0308\u0651", "ЖжЩщ αβγ עברית عربي", "ﬁİıſǅ"]
    for _ in range(300):
        chosen = "".join(random.sample(alphabets, random.randint(1, 4)))
        found.append("".join(random.choice(chosen) for _ in range(random.randint(1, 40))))
    return found


def encode(folder: pathlib.Path, texts: list[str]) -> dict:
    """What transformers makes of each text: ids with and without special tokens, and the ids decoded."""
    from transformers import AutoTokenizer, GPT2Tokenizer, PreTrainedTokenizerFast

    config = folder / "tokenizer_config.json"
    if not (folder / "tokenizer.json").exists():
        tokenizer = GPT2Tokenizer.from_pretrained(folder)
    elif "GPT2Tokenizer" in config.read_text():
        # Transformers 5 would replace the file's own way to cut words by GPT-2's.
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    else:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    cases = []
    for text in texts:
        plain = tokenizer.encode(text, add_special_tokens=False)
        cases.append({"text": text, "ids": plain, "special": tokenizer.encode(text),
                      "decoded": tokenizer.decode(plain, clean_up_tokenization_spaces=False)})
    return {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id, "cases": cases}


def tiny_tokenizers(folder: pathlib.Path) -> None:
    """Two tokenizers of a few hundred tokens, byte-level and SentencePiece's form, and what they make of texts."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    corpus = ["Once upon a time there was a little llama, and the llama said: hello, hello!", "The little llama's time: 12345 days.",
              "Grüezi! Ça va? 🦙🦙 naïve café", "once there was a time when the little one said nothing", "    indented\n\tcode()\n"] * 4
    specials = ["<unk>", "<s>", "</s>", "<|user|>"]
    level = Tokenizer(models.BPE())
    level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    level.decoder = decoders.ByteLevel()
    level.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=330, special_tokens=specials[1:], show_progress=False,
                                                          initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    piece = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    piece.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    piece.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    piece.train_from_iterator([line for line in corpus if line.isascii()],
                              trainers.BpeTrainer(vocab_size=380, special_tokens=specials + bytes_, show_progress=False))
    # Byte tokens are ordinary tokens, not special ones.
    spelled = json.loads(piece.to_str())
    spelled["added_tokens"] = [token for token in spelled["added_tokens"] if token["content"] in specials]
    piece = Tokenizer.from_str(json.dumps(spelled))
    piece.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    lines = ["", " ", "Once upon a time", "  two  spaces ", "hello🦙world", "naïve café 漢字", "<s>Once<|user|> said</s>", "line\nline\r\n\ttab", "12345", "\u0301e", "🦙"]
    config = {"bos_token": "<s>", "eos_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast"}
    for name, tokenizer in [("byte_level", level), ("sentence_piece", piece)]:
        at = folder / name
        at.mkdir(parents=True, exist_ok=True)
        (at / "tokenizer.json").write_text(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n")
        (at / "tokenizer_config.json").write_text(json.dumps(config) + "\n")
        (at / "cases.json").write_text(json.dumps(encode(at, lines), ensure_ascii=False, indent=0) + "\n")
