"""Contenders in fresh processes that take turns, and the table of what they measured."""

import json
import os
import statistics
import subprocess
import time


class Result:
    """What a finished process left: its output, wall seconds and largest resident set in MB (1e6 bytes)."""

    def __init__(self, output, seconds, peak_mb):
        self.output, self.seconds, self.peak_mb = output, seconds, peak_mb

    def json(self):
        """The last line of the output that is a JSON object, or the whole output."""
        lines = [line for line in self.output.splitlines() if line.startswith("{") and line.endswith("}")]
        return json.loads(lines[-1] if lines else self.output)


def finish(command, threads, quiet=False, extra=None):
    """Runs a command to its end with so many OpenMP threads. SystemExit when it fails, or None if quiet."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), **(extra or {}))
    start = time.perf_counter()
    child = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True, env=environment,
                             stderr=subprocess.PIPE if quiet else None)
    output = child.stdout.read()
    error = child.stderr.read() if quiet else ""
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - start
    if child.returncode and quiet:
        return (error.strip().splitlines() or [f"exit code {child.returncode}"])[-1]
    if child.returncode:
        raise SystemExit(f"failed with exit code {child.returncode}: {' '.join(map(str, command))}\n{output[-2000:]}")
    return Result(output, seconds, usage.ru_maxrss * 1024 / 1e6)


def take_turns(contenders, rounds):
    """contenders: name -> function that gives {"ms": number, "peak_mb": number}. A list of rounds."""
    return [{name: measure() for name, measure in contenders.items()} for _ in range(rounds)]


def summary(rounds, ours="ours"):
    """By contender: median, range, ratio to ours (above 1: ours is faster) taken round by round, peak."""
    rows = {}
    for name in rounds[0]:
        values = [r[name]["ms"] for r in rounds]
        ratios = [r[name]["ms"] / r[ours]["ms"] for r in rounds]
        rows[name] = {"median_ms": statistics.median(values), "range_ms": [min(values), max(values)],
                      "times_ours": statistics.median(ratios), "times_ours_range": [min(ratios), max(ratios)]}
        peaks = [r[name]["peak_mb"] for r in rounds if r[name].get("peak_mb")]
        if peaks:
            rows[name]["peak_mb"] = round(statistics.median(peaks))
    return rows


def print_table(title, rows):
    print(f"\n{title:34}{'median ms':>11}{'range':>19}{'x ours':>9}{'range of rounds':>18}{'peak MB':>9}")
    for name, row in rows.items():
        low, high = row["range_ms"]
        least, most = row["times_ours_range"]
        print(f"  {name:32}{row['median_ms']:>11.4g}{f'{low:.4g} .. {high:.4g}':>19}{row['times_ours']:>9.2f}"
              f"{f'{least:.2f} .. {most:.2f}':>18}{row.get('peak_mb', ''):>9}", flush=True)
