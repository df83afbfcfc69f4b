#!/usr/bin/env python3
"""Writes the README's measured tables between their markers.

    cargo test --test parity && scripts/readme_tables.py

`<!-- parity -->` … `<!-- /parity -->`: families and their largest difference from PyTorch, as
tests/parity.rs measured them last (target/tmp/parity.tsv).
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def parity():
    measured = ROOT / "target" / "tmp" / "parity.tsv"
    if not measured.exists():
        sys.exit("nothing is measured yet: run `cargo test --test parity` first")
    rows = ["| family | cases | largest difference |", "|---|---|---|"]
    for line in measured.read_text().splitlines():
        family, cases, largest = line.split("\t")
        rows.append(f"| `{family}` | {cases} | {largest} |")
    return "\n".join(rows)


def main():
    readme = ROOT / "README.md"
    text = readme.read_text()
    for name, table in [("parity", parity())]:
        block = re.compile(rf"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
        text, count = block.subn(f"<!-- {name} -->\n{table}\n<!-- /{name} -->", text)
        if count != 1:
            sys.exit(f"README.md needs one <!-- {name} --> block, it has {count}")
    readme.write_text(text)


if __name__ == "__main__":
    main()
