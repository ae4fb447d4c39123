"""Runs the cases of this folder against a program. See run.sh."""

import importlib
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE), str(HERE / "cases")]

from harness import Account, Work, binary  # noqa: E402
from service import Service  # noqa: E402


def main():
    program = binary()
    wanted = sys.argv[2:]
    work = Work("reports")
    account = Account(work)
    service = Service(work, program, account)
    for path in sorted((HERE / "cases").glob("*.py")):
        module = importlib.import_module(path.stem)
        for name, case in vars(module).items():
            title = f"{path.stem}: {name.removeprefix('case_').replace('_', ' ')}"
            if name.startswith("case_") and (not wanted or any(part in title for part in wanted)):
                account.part(title, case, service)
    account.close()


main()
