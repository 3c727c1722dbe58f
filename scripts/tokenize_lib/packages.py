"""The packages, in an environment that is made on first use."""
import os
import subprocess
import sys

from tokenize_lib.refused import DATA, Refused, USAGE

PACKAGES = ("tokenizers", "pyarrow")


def have_packages():
    import importlib.util
    return all(importlib.util.find_spec(name) for name in PACKAGES)


def run_quietly(words):
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    lines = done.stderr.strip().splitlines()
    return done.returncode, lines[-1] if lines else f"status {done.returncode}"


def make_environment(folder):
    """An environment is made beside, and moved into its place when it is whole."""
    print(f"installing {' and '.join(PACKAGES)} into {folder}", file=sys.stderr)
    os.makedirs(os.path.dirname(folder) or ".", exist_ok=True)
    if os.path.exists(folder) and not os.path.exists(os.path.join(folder, "pyvenv.cfg")):
        raise Refused(USAGE, f"--venv {folder} is there, and no virtual environment: name another folder")
    steps = (([sys.executable, "-m", "venv", folder],
              "a virtual environment; install python3-venv, or name one with --venv"),
             ([os.path.join(folder, "bin/python"), "-m", "pip", "install", "--quiet", "--retries", "1", *PACKAGES],
              "the packages from PyPI; without a network install them elsewhere and name that environment with --venv"))
    for words, what in steps:
        status, last = run_quietly(words)
        if status:
            raise Refused(DATA, f"cannot make {what} ({last})")


def enter_environment(args):
    """Goes on as the environment's own Python, where this one lacks the packages."""
    if have_packages():
        return
    folder = os.path.abspath(os.path.expanduser(args.venv))
    python = os.path.join(folder, "bin/python")
    inside = os.path.realpath(sys.prefix) == os.path.realpath(folder)
    check = [python, "-c", "import " + ", ".join(PACKAGES)]
    if inside or not os.path.exists(python) or run_quietly(check)[0]:
        make_environment(folder)
    if inside or run_quietly(check)[0]:
        raise Refused(DATA, f"{folder} lacks {' or '.join(PACKAGES)}: delete it, and it is made anew")
    os.execv(python, [python, os.path.realpath(sys.argv[0]), *sys.argv[1:]])
