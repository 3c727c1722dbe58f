#!/usr/bin/env python3
"""Prints docs/options.md: every option of every command, out of what --help prints, so out of the options table.

  dev/options_page.py [PROGRAM] > docs/options.md        (PROGRAM: build/train_gpt_lighthouse)
"""
import re
import subprocess
import sys

HEAD = """# Options

`dev/options_page.py` writes this page from the program's help, and `dev/test/scripts/test_docs.sh` holds it equal.
`--name=value` works too. An option without a value is a flag.
"""


def printed(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def commands(program):
    """Names and what they do, of the list in the program's own help."""
    return re.findall(r"^  (\w+) +(\S.*)$", printed(program, "--help").split("\n  COMMAND")[0], re.M)


def groups(text):
    """The groups of options in a command's help: [(title, [(option, help)])]."""
    found = []
    for line in text.split("\n"):
        if re.match(r"\S", line):
            found.append((line, []))
        elif match := re.match(r"  (--\S+(?: \S+)?)(?: +(\S.*?))? *$", line):
            found[-1][1].append([match[1], match[2] or ""])
        elif line.startswith(" " * 20) and found[-1][1]:
            found[-1][1][-1][1] = f"{found[-1][1][-1][1]} {line.strip()}".strip()
    return [(title, options) for title, options in found if options]


def row(option, text):
    text, default = re.fullmatch(r"(.*?)(?: \[([^\[\]]*)\])?", text).groups()
    cells = f"`{option}`", f"`{default}`" if default else "", text
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else "build/train_gpt_lighthouse"
    print(HEAD)
    for command, what in commands(program):
        print(f"## {command}\n\n`{command}`: {what}.")
        for title, options in groups(printed(program, command, "--help")):
            print(f"\n**{title}**\n\n| option | default | meaning |\n| --- | --- | --- |")
            print("\n".join(row(*option) for option in options))
        print()


main()
