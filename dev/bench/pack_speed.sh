#!/usr/bin/env bash
# How fast `pack` is: MB of text a second by number of threads, from jsonl.gz in the shape of C4's shards and from the same
# as plain jsonl.
#   pack_speed.sh OUT [PROGRAM [MEGABYTES]]     2000 MB of text; needs some four times that in OUT, which keeps the input
# The text is this machine's Python sources, over and over, in documents of 200 to 4,100 bytes (2,150 on average, as C4's);
# bytes are those of the text, not of the files. The input is read once before, so that no disk is timed.
set -euo pipefail
out=$1 program=${2:-build/train_gpt_lighthouse} megabytes=${3:-2000}
mkdir -p "$out"
cores=$(nproc)
[ -d "$out/gz" ] || {
    rm -rf "$out/making"
    python3 - "$out/making" "$megabytes" "$cores" <<'PY'
import glob, gzip, itertools, json, multiprocessing, os, random, sys, sysconfig

out, megabytes, cores = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
FILES = 16
paths = sorted(glob.glob(sysconfig.get_paths()["stdlib"] + "/**/*.py", recursive=True))


def make(number):
    """One file: documents from the sources, begun at another place for each."""
    draw = random.Random(number)
    name, left = f"c4-train.{number:05d}-of-{FILES:05d}.json", megabytes * 10**6 // FILES
    with gzip.open(f"{out}/gz/{name}.gz", "wt", encoding="utf-8") as packed, open(f"{out}/plain/{name}", "w", encoding="utf-8") as plain:
        for path in itertools.cycle(paths[number * len(paths) // FILES :] + paths[: number * len(paths) // FILES]):
            text, at = open(path, encoding="utf-8", errors="replace").read(), 0
            while at < len(text) and left > 0:
                document = text[at : at + draw.randrange(200, 4100)]
                at += len(document)
                left -= len(document.encode())
                line = {"text": document, "timestamp": "2019-04-25T12:57:54Z", "url": f"https://example.org/{number}/{left}"}
                line = json.dumps(line, ensure_ascii=False) + "\n"
                packed.write(line)
                plain.write(line)
            if left <= 0:
                return


os.makedirs(f"{out}/gz")
os.makedirs(f"{out}/plain")
with multiprocessing.Pool(min(cores, FILES)) as pool:
    pool.map(make, range(FILES))
PY
    mv "$out/making/plain" "$out/plain" && mv "$out/making/gz" "$out/gz" && rmdir "$out/making"
}
cat "$out"/gz/* "$out"/plain/* >/dev/null

grep -m 1 'model name' /proc/cpuinfo || true
echo "$cores cores; $("$program" --version | head -n 1)"
du -sh "$out/gz" "$out/plain"
printf '%-6s %8s %9s %10s\n' input threads seconds 'text MB/s'
threads=(1 2 4 8 16 32 64)
for input in gz plain; do
    for n in "${threads[@]}"; do
        ((n <= cores)) || continue
        rm -rf "$out/shards"
        began=$(date +%s%N)
        tokens=$("$program" pack "$out/$input" --out "$out/shards" --threads "$n" --val-fraction 0.001 2>/dev/null |
            sed -n 's/^packed .*: training \([0-9]*\) documents, \([0-9]*\) tokens.*validation \([0-9]*\) documents, \([0-9]*\) tokens.*/\1 \2 \3 \4/p')
        ended=$(date +%s%N)
        # Of the tokens two for each document are marks, the others bytes.
        awk -v input="$input" -v n="$n" -v tokens="$tokens" -v s="$(((ended - began) / 1000000))" 'BEGIN {
            split(tokens, t, " "); mb = (t[2] + t[4] - 2 * (t[1] + t[3])) / 1e6; s /= 1000
            printf "%-6s %8d %9.2f %10.1f\n", input, n, s, mb / s }'
    done
done
rm -rf "$out/shards"
