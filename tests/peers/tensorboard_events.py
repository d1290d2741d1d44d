#!/usr/bin/env python3
"""TensorBoard itself reads the event files of a run: its values are those of log.csv, and a resumed
run's steps appear once.

    tensorboard_events.py RUN       (needs the package tensorboard)
"""
import csv
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

run = pathlib.Path(sys.argv[1])
events = EventAccumulator(str(run / "tensorboard"))
events.Reload()
rows = list(csv.DictReader((run / "log.csv").open()))
checked = 0
for tag in sorted(events.Tags()["scalars"]):
    values = {}
    for event in events.Scalars(tag):
        assert event.step not in values, f"{tag}: step {event.step} twice"
        values[event.step] = event.value
    group, name = tag.split("/", 1)
    column = {"loss/total": "loss"}.get(tag, name if group == "run" else f"{group}_{name}")
    if group == "validation":
        print(f"{tag:32} {len(values)} values, last {list(values.values())[-1]:.4f}")
        continue
    assert len(values) == len(rows), f"{tag}: {len(values)} values, log.csv has {len(rows)} rows"
    for row in rows:
        expected, found = float(row[column]), values[int(row["step"])]
        assert abs(found - expected) <= 1e-6 * max(1, abs(expected)), (tag, row["step"])
        checked += 1
    print(f"{tag:32} {len(values)} values equal log.csv's {column}")
print(f"{checked} values checked")
