"""with_clickhouse.py MONTH AFTER THREADS: ClickHouse within the process (chdb); a
ReplacingMergeTree keeps the latest statements, everything after it is computed anew at each
refresh. The insert is within the clock."""

import sys
import tempfile

import chdb
from chdb import session

from report import Clock, say

month, after, threads = sys.argv[1:4]

COLUMNS = "key_hi UInt64, key_lo UInt64, rev Int32, kind Int32, cust Int32, meter Int32, dim Int32, time Int64, qty Int64"
SETTINGS = f"settings max_threads = {threads}"
OUTPUTS = {
    "hourly": "cust Int32, meter Int32, dim Int32, hour Int64, n Int64, s Int64",
    "charge": "cust Int32, meter Int32, cents Int64",
    "invoice": "cust Int32, total Int64",
}
CENTS = """intDiv((least(s, 1000000000) * 5 + greatest(least(s, 100000000000) - 1000000000, 0) * 3
    + greatest(s - 100000000000, 0)) * (meter + 1) + 5000000, 10000000)"""

clickhouse = session.Session(tempfile.mkdtemp())


def run(query):
    return str(clickhouse.query(query, "CSV")).strip()


def compute():
    for output in OUTPUTS:
        run(f"truncate table m.{output}")
    run(f"""insert into m.hourly select cust, meter, dim, intDiv(time, 3600) as hour, count(), sum(qty)
        from m.events final where kind = 0 group by all {SETTINGS}""")
    run(f"insert into m.charge select cust, meter, {CENTS} from (select cust, meter, sum(s) as s from m.hourly group by all) {SETTINGS}")
    run(f"""insert into m.invoice select cust, t - if(cust % 7 = 0, least(t, 5000), 0)
        from (select cust, sum(cents) as t from m.charge group by all) {SETTINGS}""")


def totals():
    parts = "(select count() from m.hourly), (select sum(s) from m.hourly), (select sum(cents) from m.charge), (select sum(total) from m.invoice)"
    return [int(part) for part in run(f"select {parts}").split(",")]


run("create database m engine = Atomic")
run(f"create table m.events({COLUMNS}) engine = ReplacingMergeTree(rev) order by (key_hi, key_lo)")
run(f"create table m.later(place UInt64, {COLUMNS}) engine = Memory")
run(f"insert into m.later select rowNumberInAllBlocks(), * from file('{after}')")
for output, columns in OUTPUTS.items():
    run(f"create table m.{output}({columns}) engine = Memory")

clock = Clock()
run(f"insert into m.events select * from file('{month}') {SETTINGS}")
compute()
load = clock.seconds(), clock.processors()
loaded = totals()
refreshes = []
for start in range(0, 5000, 1000):
    clock = Clock()
    run(f"insert into m.events select * except place from m.later where place >= {start} and place < {start + 1000}")
    compute()
    refreshes.append(clock.seconds())
say(f"ClickHouse (chdb {chdb.__version__}), FINAL", load, loaded, refreshes, totals())
