"""What every rival program says of itself, in one line of JSON, and the clocks it is read from."""

import json
import resource
import statistics
import time


class Clock:
    """Wall and processor seconds since it was made."""

    def __init__(self):
        self.start, self.used = time.perf_counter(), processor_seconds()

    def seconds(self):
        return time.perf_counter() - self.start

    def processors(self):
        return processor_seconds() - self.used


def processor_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def say(engine, clock_of_load, totals_of_load, refreshes, totals_of_refresh):
    """`clock_of_load` is a pair of wall and processor seconds; each total is four integers."""
    wall, processors = clock_of_load
    print(json.dumps({
        "engine": engine,
        "load_seconds": wall,
        "load_processor_seconds": processors,
        "load_totals": [int(total) for total in totals_of_load],
        "refresh_seconds": statistics.median(refreshes),
        "refresh_totals": [int(total) for total in totals_of_refresh],
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }))
