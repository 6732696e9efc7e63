"""with_polars.py MONTH AFTER THREADS: everything is computed anew at each refresh.
The events lie in memory before the clock starts."""

import os
import sys

month, after, threads = sys.argv[1], sys.argv[2], sys.argv[3]
os.environ["POLARS_MAX_THREADS"] = threads

import polars as pl  # noqa: E402  (it reads its number of threads when it is imported)

from report import Clock, say  # noqa: E402


def totals(events):
    latest = events.lazy().sort("rev").unique(subset=["key_hi", "key_lo"], keep="last").filter(pl.col("kind") == 0)
    hour = (pl.col("time") // 3600).alias("hour")
    hourly = latest.group_by("cust", "meter", "dim", hour).agg(pl.len().alias("n"), pl.col("qty").sum().alias("s")).collect()
    s, zero = pl.col("s"), pl.lit(0)
    by_tiers = (
        pl.min_horizontal(s, pl.lit(10**9)) * 5
        + pl.max_horizontal(pl.min_horizontal(s, pl.lit(10**11)) - 10**9, zero) * 3
        + pl.max_horizontal(s - 10**11, zero)
    )
    cents = (by_tiers * (pl.col("meter").cast(pl.Int64) + 1) + 5_000_000) // 10_000_000
    charges = hourly.lazy().group_by("cust", "meter").agg(s.sum()).with_columns(cents=cents).collect()
    owed = pl.col("cents").sum().alias("owed")
    credit = pl.when(pl.col("cust") % 7 == 0).then(pl.min_horizontal("owed", pl.lit(5000))).otherwise(0)
    invoices = charges.lazy().group_by("cust").agg(owed).with_columns(total=pl.col("owed") - credit).collect()
    return len(hourly), hourly["s"].sum(), charges["cents"].sum(), invoices["total"].sum()


events, later = pl.read_parquet(month), pl.read_parquet(after)
clock = Clock()
loaded = totals(events)
load = clock.seconds(), clock.processors()
refreshes = []
for start in range(0, 5000, 1000):
    clock = Clock()
    events = pl.concat([events, later[start:start + 1000]])
    refreshed = totals(events)
    refreshes.append(clock.seconds())
say(f"Polars {pl.__version__}, computed anew", load, loaded, refreshes, refreshed)
