"""Every field: our score beside the plain method's, on the same rows, in one table.

    python benchmarks/fields.py [--quick] [FIELD …]

Runs `fields_text.py`, `fields_tables.py`, `fields_recommender.py`, `fields_speech.py` and
`fields_industry.py`, those that are there; FIELD names some of them (`tables text`). A module
with a function `rows(quick)` fills the common table (see `field_rows.py`); the others print
their own. Data that was not fetched is named and left out: `modelscale data fetch NAME`.
"""

import sys
from importlib import import_module
from importlib.util import find_spec

import torch
from field_rows import HEAD, line
from timing import machine

FIELDS = ("text", "tables", "recommender", "speech", "industry")


def main() -> None:
    quick = "--quick" in sys.argv
    wanted = [word for word in sys.argv[1:] if not word.startswith("-")]
    torch.set_num_threads(1)
    print(machine())
    for field in wanted or FIELDS:
        name = f"fields_{field}"
        if find_spec(name) is None:
            print(f"{field}: no benchmarks/{name}.py")
            continue
        module = import_module(name)
        print(f"\n{name}")
        if hasattr(module, "rows"):
            print(HEAD)
            for row in module.rows(quick):
                print(line(row), flush=True)
        else:
            sys.argv = [f"{name}.py", *(["--quick"] if quick else [])]
            module.main()


if __name__ == "__main__":
    main()
