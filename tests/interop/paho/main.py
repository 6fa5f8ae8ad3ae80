"""main.py PORT VERSION CASE runs one case against the broker on that port; --list names all cases."""

import importlib
import pathlib
import sys
import threading
import traceback

import bench

for file in sorted(pathlib.Path(__file__).parent.glob("case_*.py")):
    importlib.import_module(file.stem)  # adds its cases


def main():
    if sys.argv[1:] == ["--list"]:
        print("\n".join(sorted(f"{version}::{name}" for version, name in bench.CASES)))
        return
    port, version, name, *rest = sys.argv[1:]
    here = bench.Bench(int(port), version)
    if name == "--hold":
        here.subscriber(rest[1], name=rest[0], qos=1, keep=True)
        print("ready", flush=True)
        threading.Event().wait()
    try:
        with here.close:
            bench.CASES[version, name](here)
    except AssertionError as error:
        frames = traceback.extract_tb(error.__traceback__)
        place = next(frame for frame in reversed(frames) if "case_" in frame.filename)
        sys.exit(f"{place.filename}:{place.lineno}: {place.line}\n{error}")


main()
