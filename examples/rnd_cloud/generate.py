"""Writes the events of the example: a month of an R&D cloud, and what came late.

    python3 examples/rnd_cloud/generate.py

The seed decides everything, so that running it again changes nothing.
"""

import json
import random
from datetime import datetime, timedelta, timezone
from pathlib import Path

FOLDER = Path(__file__).parent / "events"
MONTH = datetime(2025, 3, 1, tzinfo=timezone.utc)
HOURS = 31 * 24
# How much each subject uses, as a share of the busiest.
SUBJECTS = {
    "danube/structural-biology": 4,
    "danube/plant-genetics": 3,
    "himal": 5,
    "longwood": 9,
    "tern": 3,
}
TOOLS = ["minimap", "bowtie", "star"]

draw = random.Random(20250301)
events = []


def moment(hour):
    return MONTH + timedelta(hours=hour, seconds=draw.randrange(3600), milliseconds=draw.randrange(1000))


def add(subject, event_type, at, source, **data):
    time = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    number = len(events) + 1
    events.append({"specversion": "1.0", "id": f"{event_type}-{number:05}", "source": source, "type": event_type,
                   "subject": subject, "time": time, "data": data})


def a_working_hour():
    """Hours of the day when people work, wherever they are, and the odd night."""
    while True:
        hour = draw.randrange(HOURS)
        weekday = (MONTH + timedelta(hours=hour)).weekday()
        if weekday < 5 or draw.randrange(6) == 0:
            return hour


for subject, share in SUBJECTS.items():
    known = []
    for _ in range(26 * share):
        # Some are saved again: they still count once.
        if known and draw.randrange(4) == 0:
            entity, kind = draw.choice(known)
        else:
            entity, kind = f"{subject[:2].upper()}-{len(known) + 1:04}", draw.choice(["antibody", "plasmid", "strain"])
            known.append((entity, kind))
        add(subject, "registry.saved", moment(a_working_hour()), "/registry", entity=entity, kind=kind)
    for _ in range(31 * share):
        megabases = f"{draw.randrange(200, 90_000) / 1000:.3f}"
        add(subject, "alignment.finished", moment(draw.randrange(HOURS)), "/compute", megabases=megabases, tool=draw.choice(TOOLS))
    for day in range(31):
        at = MONTH + timedelta(days=day, hours=23, minutes=30)
        for tier, gigabytes in (("hot", 700 * share + 9 * day), ("archive", 5_200 * share + 31 * day)):
            gb_hours = f"{gigabytes * 24}.{draw.randrange(10**6):06}"
            add(subject, "storage.measured", at, "/storage", gb_hours=gb_hours, tier=tier)
    seats = 3 + share
    for day in range(0, 31, 3):
        seats += draw.choice([-1, 0, 0, 1, 1])
        add(subject, "seats.changed", moment(day * 24 + 9), "/accounts", seats=seats)
    for _ in range(14 * share):
        user = f"{subject[:3]}-user-{draw.randrange(3 + share)}"
        add(subject, "notebook.opened", moment(a_working_hour()), "/notebooks", user=user)
    for _ in range(12 * share):
        at = moment(a_working_hour())
        add(subject, "assistant.answered", at, "/assistant", tokens=draw.randrange(200, 30_000), direction="input")
        add(subject, "assistant.answered", at, "/assistant", tokens=draw.randrange(20, 6_000), direction="output")

late = [event for event in events if event["type"] != "storage.measured" and draw.randrange(60) == 0]
late_ids = {event["id"] for event in late}
on_time = [event for event in events if event["id"] not in late_ids]
on_time.sort(key=lambda event: (event["time"], event["id"]))
# Delivery is at least once: some come again at the end.
on_time += [event for event in on_time if draw.randrange(80) == 0]

alignments = [event for event in on_time if event["type"] == "alignment.finished"]
for event in draw.sample(alignments, 6):
    late.append({**event, "revision": 1, "data": {**event["data"], "megabases": "0.5"}})
for event in draw.sample(alignments, 3):
    late.append({**{key: event[key] for key in ("specversion", "id", "source", "type", "subject", "time")},
                 "revision": 2, "retract": True})

for name, lines in (("2025_03.ndjson", on_time), ("2025_03_late.ndjson", late)):
    text = "".join(json.dumps(event, separators=(",", ":")) + "\n" for event in lines)
    (FOLDER / name).write_text(text, encoding="utf-8")
    print(name, len(lines))
