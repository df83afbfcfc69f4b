#!/usr/bin/env python3
"""Measures taper beside llama.cpp and PyTorch on this machine, at the same precision, and writes the table.

    scripts/bench_peers.py                      # everything: builds, fetches, measures; an hour or two
    scripts/bench_peers.py --rows decode,1.1B   # rows whose name has one of these patterns
    scripts/bench_peers.py --quick              # 2 repeats and short runs, to see that it works
    scripts/bench_peers.py --readme             # puts the table last measured into README.md, one a kind of processor

Under target/peers/: llama.cpp, built from the sdist of llama-cpp-python (cmake and ninja from PyPI), an
environment with torch and transformers unless --python names one that has them, a random checkpoint of
TinyLlama-1.1B's shape, and GGUF files of every format by llama-quantize. SmolLM2 comes from real_models.py.

Every row is run in turn, taper, llama.cpp, PyTorch, taper, ..., so that a machine that slows down slows
all of them. llama.cpp is tried with flash attention off and on before each row, and keeps the better. A
figure is the median of its runs; the JSON beside the table has every run, and how busy the machine was.
Beside a busy process each engine runs idle and busy by turns, and keeps so much of the idle speed.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tarfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "target" / "peers"
MODELS = ROOT / "target" / "models"
LLAMA = PEERS / "llama" / "bin"
TAPER = ROOT / "target" / "release" / "taper"
SDIST = "llama-cpp-python==0.3.36"
SMOL, BIG = "SmolLM2-135M", "1.1B"
NEEDED = ["torch==2.15.*", "transformers==5.23.*", "numpy", "gguf", "safetensors"]
PROMPT = "The capital of France is"
CORES = os.cpu_count()
# gcc 12 drops the stores to AMX's tile configuration before it is loaded, and llama.cpp's Q8_0 and Q4_0 crash.
LOADED = "    _tile_loadconfig(&tc);"
KEPT = '    asm volatile("" : : "r"(&tc) : "memory");\n'


def run(command, **options):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if result.returncode:
        sys.exit(f"error: {' '.join(map(str, command))}\n{result.stderr[-2000:]}")
    return result.stdout


# --- what is measured -------------------------------------------------------------------------------


def row(name, kind, model, form, **more):
    base = {"n": 64, "depth": 0, "threads": CORES, "batch": 1, "busy": False}
    return {"name": name, "kind": kind, "model": model, "format": form, **base, **more}


def rows():
    table = []
    for form in ["f32", "bf16", "Q8_0", "Q4_0", "Q4_K_M"]:
        table.append(row(f"decode {form}", "decode", SMOL, form, n=128))
    for form in ["bf16", "Q8_0", "Q4_0"]:
        table.append(row(f"decode {form}, context 2048", "decode", SMOL, form, depth=2048))
    for form in ["bf16", "Q8_0", "Q4_0"]:
        table.append(row(f"decode {form}, 1 thread", "decode", SMOL, form, threads=1))
    for form in ["bf16", "Q8_0"]:
        table.append(row(f"decode {form}, beside one busy process", "decode", SMOL, form, busy=True))
    table.append(row("decode bf16, 16 rows", "decode", SMOL, "bf16", batch=16))
    for form in ["f32", "bf16", "Q8_0", "Q4_0", "Q4_K_M"]:
        table.append(row(f"prefill 512 {form}", "prefill", SMOL, form, n=512))
    for n in [2048, 8192]:
        table.append(row(f"prefill {n} bf16", "prefill", SMOL, "bf16", n=n))
    for form in ["bf16", "Q8_0", "Q4_0", "Q4_K_M"]:
        table.append(row(f"1.1B decode {form}", "decode", BIG, form, n=32))
    for form in ["bf16", "Q8_0", "Q4_0", "Q4_K_M"]:
        table.append(row(f"1.1B prefill 512 {form}", "prefill", BIG, form, n=512))
    table.append(row("start to first token, ms, bf16", "start", SMOL, "bf16"))
    table.append(row("start to first token, ms, Q8_0", "start", SMOL, "Q8_0"))
    table.append(row("peak memory, MB, bf16", "memory", SMOL, "bf16", n=32))
    return table


def gguf(model, form):
    return PEERS / f"{model}.{form}.gguf"


def folder(model, form):
    return MODELS / f"{SMOL}-Instruct-{form}" if model == SMOL else PEERS / "1.1B-bf16"


def dense(form):
    return form in ("f32", "bf16")


# --- the engines ------------------------------------------------------------------------------------


class Taper:
    """Dense weights from the folder, with activations of the same precision; others from the GGUF."""

    name = "taper"
    binary = TAPER

    def model(self, row):
        form = row["format"]
        if not dense(form):
            return ["-q", "-m", gguf(row["model"], form)]
        return ["-q", "-m", folder(row["model"], form), "--dtype", form]

    def takes(self, row):
        return True

    def rate(self, row):
        length = {"prefill": ["--prompt-tokens", row["n"], "--generate-tokens", 0]}
        length = length.get(row["kind"], ["--prompt-tokens", 0, "--generate-tokens", row["n"]])
        command = [self.binary, "bench", *self.model(row), "--threads", row["threads"], "--depth", row["depth"]]
        command += ["--batch", row["batch"], "--repeat", 1, "--json", *length]
        if row["depth"]:
            command += ["--kv-dtype", "f16"]  # as llama.cpp keeps it
        report = json.loads(run(command))
        self.step = report["bytes_per_step"]
        return report[row["kind"]]["tokens_per_s"]

    def generate(self, row, n):
        return [self.binary, "generate", *self.model(row), "-n", n, "--temperature", 0, PROMPT]


class Llama:
    name = "llama.cpp"
    flash = 0

    def takes(self, row):
        return True

    def prepare(self, row):
        """The better setting: flash attention or none."""
        found = {}
        if row["kind"] in ("decode", "prefill"):
            for self.flash in (0, 1):
                found[self.flash] = self.rate(row)
            self.flash = max(found, key=found.get)
        return {f"-fa {flash}": rate for flash, rate in found.items()}

    def rate(self, row):
        file, threads, n = gguf(row["model"], row["format"]), row["threads"], row["n"]
        if row["batch"] > 1:
            command = [LLAMA / "llama-batched-bench", "-m", file, "-t", threads, "-c", 2048, "-npp", 1]
            command += ["-ntg", n, "-npl", row["batch"], "--output-format", "jsonl", "-fa", ("off", "on")[self.flash]]
            lines = [line for line in run(command).splitlines() if line.startswith("{")]
            return json.loads(lines[-1])["speed_tg"]
        length = ["-p", n, "-n", 0] if row["kind"] == "prefill" else ["-p", 0, "-n", n]
        command = [LLAMA / "llama-bench", "-m", file, "-t", threads, "-d", row["depth"], "-r", 1]
        command += ["-fa", self.flash, "-o", "json", *length]
        return json.loads(run(command))[-1]["avg_ts"]

    def generate(self, row, n):
        file = gguf(row["model"], row["format"])
        quiet = ["-no-cnv", "--no-display-prompt", "--no-warmup", "--temp", 0]
        return [LLAMA / "llama-completion", "-m", file, "-t", row["threads"], "-n", n, *quiet, "-p", PROMPT]


class Torch:
    name = "PyTorch"

    def __init__(self, python):
        self.python, self.servers = python, {}

    def takes(self, row):
        return dense(row["format"])

    def server(self, row):
        key = (row["model"], row["format"])
        if key not in self.servers:
            self.close()
            dtype = {"f32": "float32", "bf16": "bfloat16"}[row["format"]]
            command = [self.python, ROOT / "scripts" / "bench_torch.py", folder(*key), dtype]
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
            self.servers[key] = subprocess.Popen(command, text=True, bufsize=1, **pipes)
            self.servers[key].stdout.readline()
        return self.servers[key]

    def close(self):
        for server in self.servers.values():
            server.stdin.close()
            server.wait()
        self.servers = {}

    def rate(self, row):
        server = self.server(row)
        server.stdin.write(json.dumps(row) + "\n")
        return float(server.stdout.readline())

    def generate(self, row, n):
        command = [self.python, ROOT / "scripts" / "bench_torch.py", folder(row["model"], row["format"])]
        return [*command, "first-token", PROMPT]


# --- measuring --------------------------------------------------------------------------------------


def process(command, wanted):
    """Milliseconds until the first byte of text, or the greatest resident size in MB."""
    started = time.perf_counter()
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    child = subprocess.Popen([str(part) for part in command], **pipes)
    while (byte := child.stdout.read(1)) in (b" ", b"\n"):
        pass  # llama.cpp writes a space before it has computed anything
    first = 1000 * (time.perf_counter() - started)
    child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = status
    if status or not byte:
        sys.exit(f"error: {' '.join(map(str, command))} ended with {status}")
    return first if wanted == "start" else usage.ru_maxrss / 1000


@contextlib.contextmanager
def neighbour(there):
    """A process that takes a core as long as it is there."""
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if there else None
    try:
        time.sleep(0.2 if there else 0)  # until it runs
        yield
    finally:
        if child:
            child.kill()
            child.wait()


def once(engine, row):
    if row["kind"] in ("start", "memory"):
        return process(engine.generate(row, 1 if row["kind"] == "start" else row["n"]), row["kind"])
    return engine.rate(row)


def ticks():
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, idle, wait, irq, soft, steal = map(int, fields)
    return {"busy": user + nice + system + irq + soft, "idle": idle + wait, "steal": steal}


def machine(load, before, after):
    spent = {key: after[key] - before[key] for key in after}
    total = max(1, sum(spent.values()))
    return {"load_before": load, **{key: round(value / total, 4) for key, value in spent.items()}}


def measure(row, engines, repeats):
    engines = [engine for engine in engines if engine.takes(row)]
    if row["kind"] == "memory":
        engines = [engine for engine in engines if engine.name != "PyTorch"]  # its peak is its imports'
    load, before = os.getloadavg()[0], ticks()
    with neighbour(row["busy"]):
        settings = {e.name: e.prepare(row) for e in engines if hasattr(e, "prepare")}
    for engine in engines:
        if isinstance(engine, Torch) and row["kind"] in ("decode", "prefill"):
            engine.rate(row)  # one that does not count, as the others have inside
    runs = {engine.name: [] for engine in engines}
    idle = {engine.name: [] for engine in engines if row["busy"]}
    for _ in range(repeats):
        for engine in engines:
            if row["busy"]:
                idle[engine.name].append(once(engine, row))
            with neighbour(row["busy"]):
                runs[engine.name].append(once(engine, row))
    result = {**row, "runs": runs, "settings": settings, "machine": machine(load, before, ticks())}
    if idle:
        result["idle"] = idle
    step = getattr(engines[0], "step", None)
    if row["kind"] == "decode" and step:
        result["bytes_per_s"] = step * statistics.median(runs["taper"]) / row["batch"]
    return result


def roofline(threads):
    command = [Taper.binary, "bench", "-q", "-m", folder(SMOL, "bf16"), "--threads", threads, "--roofline", "--json"]
    report = json.loads(run([*command, "--prompt-tokens", 0, "--generate-tokens", 1]))
    return report["roofline"]["bytes_per_s"]


# --- the table --------------------------------------------------------------------------------------


def figure(runs):
    if not runs:
        return "–"
    middle, digits = statistics.median(runs), 0 if statistics.median(runs) >= 100 else 1
    return f"{middle:.{digits}f} ({min(runs):.{digits}f}–{max(runs):.{digits}f})"


def kept(result, name):
    """What an engine keeps of its idle speed, measured by turns."""
    idle = result.get("idle", {}).get(name)
    if not idle:
        return ""
    return f", {100 * statistics.median(result['runs'][name]) / statistics.median(idle):.0f} % of idle"


def ratio(result):
    """taper's tokens/s over the best peer's; what is better when smaller, the other way round."""
    medians = {name: statistics.median(runs) for name, runs in result["runs"].items()}
    own = medians.pop("taper")
    if not medians:
        return "–"
    smaller = result["kind"] in ("start", "memory")
    return f"{min(medians.values()) / own if smaller else own / max(medians.values()):.2f}"


def table(report):
    names = ["taper", "llama.cpp", "PyTorch"]
    lines = ["| tokens/s, or as said | taper | llama.cpp | PyTorch | × the best peer | of the memory's speed |"]
    lines.append("|---|---|---|---|---|---|")
    for result in report["rows"].values():
        cells = [figure(result["runs"].get(name)) + kept(result, name) for name in names]
        roof = report["roofline"].get(str(result["threads"]))
        share = "–"
        if roof and result.get("bytes_per_s") and not result["busy"]:
            share = f"{100 * result['bytes_per_s'] / roof:.0f} %"
        lines.append(f"| {result['name']} | {' | '.join(cells)} | {ratio(result)} | {share} |")
    busiest = max(result["machine"]["steal"] for result in report["rows"].values())
    repeats = min(len(result["runs"]["taper"]) for result in report["rows"].values())
    roofs = ", ".join(f"{roof / 1e9:.1f} GB/s with {n}" for n, roof in sorted(report["roofline"].items()))
    lines += [
        "",
        f"Medians (least to greatest) of at least {repeats} runs in turn, {report['machine']}; SmolLM2-135M, or "
        f"random weights of TinyLlama-1.1B's shape. Memory reads at {roofs} threads. Other machines took "
        f"at most {100 * busiest:.1f} % of the processors during a row (steal). `scripts/bench_peers.py` makes this table.",
    ]
    return "\n".join(lines)


def block(name):
    """README's table of that name for processors like this one."""
    flags = Path("/proc/cpuinfo").read_text()
    kind = "" if "amx_bf16" in flags else "-avx512" if "avx512_vnni" in flags else "-other"
    return name + kind


def into_readme(name, content):
    """Puts it between README's `<!-- name -->` and `<!-- /name -->`."""
    readme = ROOT / "README.md"
    block = re.compile(f"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
    fresh = f"<!-- {name} -->\n{content}\n<!-- /{name} -->"
    text, count = block.subn(lambda _: fresh, readme.read_text())
    if count != 1:
        sys.exit(f"README.md needs one <!-- {name} --> block, it has {count}")
    readme.write_text(text)


# --- making what is needed --------------------------------------------------------------------------


def environment(name, packages):
    python = PEERS / name / "bin" / "python"
    if not python.exists():
        run([sys.executable, "-m", "venv", PEERS / name])
    run([python, "-m", "pip", "install", "--quiet", *packages])
    return python


def build_llama():
    tools = ["llama-bench", "llama-batched-bench", "llama-completion", "llama-quantize", "llama-perplexity"]
    if all((LLAMA / tool).exists() for tool in tools):
        return
    bin = environment("buildenv", ["cmake", "ninja"]).parent
    if not list(PEERS.glob("llama_cpp_python-*/")):
        run([bin / "pip", "download", "--no-deps", "--no-binary", "llama-cpp-python", "-d", PEERS, SDIST])
        with tarfile.open(next(PEERS.glob("llama_cpp_python-*.tar.gz"))) as archive:
            archive.extractall(PEERS, filter="data")
    source = next(PEERS.glob("llama_cpp_python-*/")) / "vendor" / "llama.cpp"
    products = source / "ggml" / "src" / "ggml-cpu" / "amx" / "mmq.cpp"
    text = products.read_text()
    if KEPT not in text:
        products.write_text(text.replace(LOADED, KEPT + LOADED))
    say("building llama.cpp")
    path = {**os.environ, "PATH": f"{bin}:{os.environ['PATH']}"}
    flags = ["-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_CURL=OFF"]
    run(["cmake", "-S", source, "-B", PEERS / "llama", "-G", "Ninja", *flags], env=path)
    run(["cmake", "--build", PEERS / "llama", "-j", CORES, "--target", *tools], env=path)


def quantise(model, source, forms):
    for form in forms:
        if not gguf(model, form).exists():
            say(f"making {gguf(model, form).name}")
            part = gguf(model, form).with_suffix(".part")
            run([LLAMA / "llama-quantize", "--allow-requantize", source, part, form, CORES])
            part.rename(gguf(model, form))


def make_models(python, model_rows):
    run([sys.executable, ROOT / "scripts" / "real_models.py", "--to", MODELS])
    stored = MODELS / f"{SMOL}-Instruct.Q4_1.gguf"
    for form in ["f32", "bf16"]:
        if not gguf(SMOL, form).exists():
            quantise(SMOL, stored, [form.upper()])
            gguf(SMOL, form.upper()).rename(gguf(SMOL, form))
    quantise(SMOL, gguf(SMOL, "f32"), ["Q8_0", "Q4_0", "Q4_K_M"])
    if any(row["model"] == BIG for row in model_rows):
        if not gguf(BIG, "bf16").exists():
            run([python, ROOT / "scripts" / "bench_random.py", folder(BIG, "bf16"), gguf(BIG, "bf16")])
        quantise(BIG, gguf(BIG, "bf16"), ["Q8_0", "Q4_0", "Q4_K_M"])


def say(line):
    print(line, file=sys.stderr, flush=True)


def describe():
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{CORES} cores of {names[0] if names else platform.machine()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", default="", help="patterns; rows whose name has one of them, in this order")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="2 repeats, short runs")
    parser.add_argument("--python", type=Path, help="a Python with torch and transformers")
    parser.add_argument("--taper", type=Path, help="a taper that is built already")
    parser.add_argument("--fresh", action="store_true", help="forget the rows of earlier runs")
    parser.add_argument("--readme", action="store_true", help="only write the table into README.md")
    args = parser.parse_args()
    output = PEERS / ("quick.json" if args.quick else "table.json")
    report = {"rows": {}, "roofline": {}}
    if output.exists() and not args.fresh:
        report = json.loads(output.read_text())
    if args.readme:
        return into_readme(block("speed"), table(report))
    PEERS.mkdir(parents=True, exist_ok=True)
    words = [word.strip() for word in args.rows.split(",") if word.strip()]
    wanted = rows()
    if words:
        found = [row for word in words for row in wanted if re.search(word, row["name"])]
        wanted = list({row["name"]: row for row in found}.values())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    build_llama()
    python = args.python or environment("torch", NEEDED)
    make_models(python, wanted)
    if not args.taper:
        run(["cargo", "build", "--release", "--quiet"], cwd=ROOT)
    Taper.binary = args.taper or TAPER
    report["machine"] = describe()
    for threads in {row["threads"] for row in wanted}:
        report["roofline"][str(threads)] = roofline(threads)
    engines = [Taper(), Llama(), Torch(python)]
    for row in wanted:
        if args.quick:
            row["n"] = min(row["n"], 128 if row["kind"] == "prefill" else 16)
        result = measure(row, engines, 2 if args.quick else args.repeats)
        report["rows"][row["name"]] = result
        order = [row["name"] for row in rows()]
        report["rows"] = {name: report["rows"][name] for name in order if name in report["rows"]}
        output.write_text(json.dumps(report, indent=1))
        output.with_suffix(".md").write_text(table(report) + "\n")
        say(f"{row['name']}: " + ", ".join(f"{n} {figure(r)}" for n, r in result["runs"].items()) + f", × {ratio(result)}")
    engines[-1].close()


if __name__ == "__main__":
    main()
