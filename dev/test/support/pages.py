#!/usr/bin/env python3
"""The pages of this repository, as dev/test/scripts/test_docs.sh holds them to the program.

  pages.py faults PROGRAM PAGE...   what is wrong in pages without running anything, a line each; status 1 where any is
  pages.py blocks PAGE FOLDER       the commands of a page that can be run here: a script in FOLDER for each block

A block of commands is fenced as sh. What this machine cannot run has a comment before it that says why:
<!-- not run: needs a GPU -->
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
WIDTH = 120
LANGUAGES = {"sh", "text", "python", "json"}
# Options of other programs, and of tests, that pages name; settings of other programs.
FOREIGN = set("--account --bind-to --cpu-bind --golden --partition".split())
FOREIGN_NAMES = {"odls_base_sigkill_timeout"}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
# Another program's words, up to ours.
OTHERS = re.compile(r"\b(?:mpirun|srun|sbatch|scontrol|sinfo|vllm|tensorboard|sudo|ssh|docker)\b.*?(?=\$B |train_gpt_lighthouse |$)", re.M)
COMMAND = re.compile(r"(?:\$B|\btrain_gpt_lighthouse) (?=[a-z])(\w+)([^|>\n]*)")
ROOMS = ["core", "cpu", "cuda", "dev", "scripts"]
CODE = {".c", ".h", ".cu", ".cuh", ".def", ".py", ".sh", ".awk"}


def sources():
    """The source files of the repository."""
    yield from (path for path in ROOT.iterdir() if path.suffix in CODE)
    yield from (path for room in ROOMS for path in (ROOT / room).rglob("*") if path.suffix in CODE)


FILES = {path.name for path in sources()}
WORDS = set(re.findall(r"\w+", " ".join([*FILES, *(path.read_text() for path in [ROOT / "Makefile", *sources()])])))


class Block:
    def __init__(self, line, language, reason):
        self.line, self.language, self.reason, self.text = line, language, reason, ""


def parse(path):
    """The page as (number, line) of its prose, and its blocks."""
    prose, blocks, block, reason = [], [], None, None
    for number, line in enumerate(path.read_text().split("\n"), 1):
        if fence := re.match(r"\s*```(\w*)$", line):
            if block:
                block = None
            else:
                block, reason = Block(number, fence[1], reason), None
                blocks.append(block)
        elif block:
            block.text += line + "\n"
        else:
            prose.append((number, line))
            said = re.match(r"\s*<!-- not run: (.*\S) -->$", line)
            reason = said[1] if said else reason if not line.strip() else None
    return prose, blocks


def anchors(path):
    """What GitHub makes of a page's headings."""
    heads = (re.match(r"#+ (.*)$", line) for _, line in parse(path)[0])
    texts = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", head[1]).lower() for head in heads if head)
    return {re.sub(r"[^\w\- ]", "", text).replace(" ", "-") for text in texts}


def code_in(prose):
    """What stands between backticks, also over the end of a line."""
    text, start = "", 1
    for number, line in [*prose, (0, "")]:
        if line.strip() and not line.startswith("|"):
            start, text = (start if text else number), f"{text} {line.strip()}"
            continue
        for at, piece in (start, text), (number, line):
            yield from ((at, code.replace("\\|", "|")) for code in re.findall(r"`([^`]+)`", piece))
        text = ""


def link_faults(path, prose):
    for number, line in prose:
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            there = (path.parent / file).resolve() if file else path
            if not there.exists():
                yield number, f"the link {target} leads nowhere"
            elif anchor and anchor not in anchors(there):
                yield number, f"the link {target} leads to no heading"


def name_faults(prose):
    """Files, functions and tests that prose names."""
    for number, line in prose:
        for name in re.findall(r"(?<![\w./-])(?:core|cpu|cuda|dev|docs|scripts)/[\w./-]*\w", line):
            if not (ROOT / name).exists():
                yield number, f"there is no {name}"
        for name in re.findall(r"`(\w+\.(?:c|h|cuh?|py|sh))`", line):
            if name not in FILES:
                yield number, f"there is no file {name}"
        for name in re.findall(r"`(\w+_\w+)`", line):
            if name not in WORDS | FOREIGN_NAMES and "NAME" not in name:
                yield number, f"there is no {name} in the sources"


def width_faults(prose):
    for number, line in prose:
        if len(line) > WIDTH and not line.lstrip().startswith(("|", "![")):
            yield number, f"{len(line)} columns of prose; {WIDTH} are allowed"


def block_faults(prose, blocks):
    for block in blocks:
        if block.language not in LANGUAGES:
            yield block.line, f"a block in '{block.language}', none of {', '.join(sorted(LANGUAGES))}"
        if block.language != "sh" and re.search(r"^\s*(\$B|build/|scripts/|dev/|mpirun)", block.text, re.M):
            yield block.line, "commands in a block that is not sh: nobody would run them"
    for number, line in prose:
        if re.match(r"\s*(\$B|build/|scripts/|dev/|mpirun|make) ", line):
            yield number, "a command outside a block: nobody would run it"
        if line.startswith("    "):
            yield number, "an indented block: fence it, and name its language"
        if re.match(r"\s*<!--", line) and not re.match(r"\s*<!-- not run: (.*\S) -->$", line):
            yield number, "a comment that is no <!-- not run: REASON -->"


class Options:
    """The options of each command, and of scripts and tools."""

    def __init__(self, program):
        run = lambda *words: subprocess.run([program, *words], check=True, capture_output=True, text=True).stdout
        names = re.findall(r"^  (\w+) +\S", run("--help").split("\n  COMMAND")[0], re.M)
        self.of = {name: set(OPTION.findall(run(name, "--help"))) | {"--help"} for name in names}
        tools = [*(ROOT / "scripts").rglob("*"), *(ROOT / "dev").rglob("*.py"), *(ROOT / "dev").rglob("*.sh")]
        texts = (tool.read_text() for tool in tools if tool.is_file() and not tool.name.startswith("test_"))
        self.known = set().union(*self.of.values(), *map(OPTION.findall, texts)) | FOREIGN | {"--version"}

    def faults(self, number, text):
        """Of a line of commands, or of a piece of code in prose, which may leave the program's name out."""
        first = re.match(r"\w*", text)[0]
        for command, words in COMMAND.findall(f"$B {text}" if first in self.of else text):
            if command not in self.of:
                yield number, f"the program has no command {command}"
            for option in OPTION.findall(words):
                if command in self.of and option not in self.of[command]:
                    yield number, f"{command} has no option {option}"
        for option in OPTION.findall(OTHERS.sub("", text)):
            if option not in self.known:
                yield number, f"nothing here has an option {option}"


def page_faults(path, options):
    prose, blocks = parse(path)
    yield from link_faults(path, prose)
    yield from name_faults(prose)
    yield from width_faults(prose)
    yield from block_faults(prose, blocks)
    for number, text in code_in(prose):
        yield from options.faults(number, text)
    for block in blocks:
        text = re.sub(r"\\\n", " ", block.text)
        for number, line in enumerate(text.split("\n"), block.line + 1):
            yield from options.faults(number, line)


def print_faults(program, *pages):
    options = Options(program)
    found = [f"{page}:{number}: {fault}" for page in pages
             for number, fault in sorted(page_faults(pathlib.Path(page).resolve(), options))]
    print("\n".join(found), end="\n" if found else "")
    sys.exit(1 if found else 0)


def write_blocks(page, folder):
    for block in parse(pathlib.Path(page))[1]:
        if block.language == "sh" and not block.reason:
            text = re.sub(r"^ +", "", block.text, flags=re.M)
            (pathlib.Path(folder) / f"line_{block.line:04}.sh").write_text(text)


{"faults": print_faults, "blocks": write_blocks}[sys.argv[1]](*sys.argv[2:])
