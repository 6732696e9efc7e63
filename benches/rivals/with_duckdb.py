"""with_duckdb.py MONTH AFTER THREADS anew|upsert: computes everything anew at each refresh, or
keeps the latest statements under a primary key and touches only the hours that change.
The events lie in a table before the clock starts."""

import sys

import duckdb

from report import Clock, say

month, after, threads, way = sys.argv[1:5]

CENTS = """((least(s, 1000000000) * 5 + greatest(least(s, 100000000000) - 1000000000, 0) * 3
    + greatest(s - 100000000000, 0)) * (meter + 1) + 5000000) // 10000000"""
HOURLY = "create or replace table hourly as select cust, meter, dim, time // 3600 as hour, count(*) n, sum(qty) s from latest group by all"
CHARGES = f"""create or replace table charge as select cust, meter, {CENTS} as cents
    from (select cust, meter, sum(s) s from hourly group by all)"""
INVOICES = """create or replace table invoice as select cust, t - case when cust % 7 = 0 then least(t, 5000) else 0 end as total
    from (select cust, sum(cents) t from charge group by cust)"""
STATEMENT = "struct_pack(kind := kind, cust := cust, meter := meter, dim := dim, time := time, qty := qty)"
LATEST = f"select key_hi, key_lo, max(rev) rev, max_by({STATEMENT}, rev) as r from events group by key_hi, key_lo"
TOTALS = """select (select count(*) from hourly where n > 0), (select sum(s) from hourly),
    (select sum(cents) from charge), (select sum(total) from invoice)"""

database = duckdb.connect()
run = database.execute
run(f"set threads = {threads}")
run("set preserve_insertion_order = false")
run(f"create table events as select * from '{month}'")
run(f"create table later as select *, row_number() over () as place from '{after}'")


def compute_anew():
    run(f"create or replace view latest as select r.cust, r.meter, r.dim, r.time, r.qty from ({LATEST}) where r.kind = 0")
    for step in (HOURLY, CHARGES, INVOICES):
        run(step)


def refresh_anew(start):
    run(f"insert into events select * exclude place from later where place between {start + 1} and {start + 1000}")
    compute_anew()


def build_keyed():
    run("""create table standing(key_hi ubigint, key_lo ubigint, rev int, kind int, cust int, meter int, dim int,
        time bigint, qty bigint, primary key (key_hi, key_lo))""")
    run(f"insert into standing select key_hi, key_lo, rev, r.kind, r.cust, r.meter, r.dim, r.time, r.qty from ({LATEST})")
    run("create or replace view latest as select * from standing where kind = 0")
    for step in (HOURLY, CHARGES, INVOICES):
        run(step)


def refresh_touched(start):
    run("begin")
    run(f"""create or replace temp table batch as select * exclude place from later
        where place between {start + 1} and {start + 1000}
        qualify row_number() over (partition by key_hi, key_lo order by rev desc) = 1""")
    run("""create or replace temp table touched as select cust, meter, dim, time // 3600 as hour, sum(n) n, sum(q) q from (
        select l.cust, l.meter, l.dim, l.time, -1 n, -l.qty q from batch b join standing l using (key_hi, key_lo)
            where b.rev > l.rev and l.kind = 0
        union all select b.cust, b.meter, b.dim, b.time, 1, b.qty from batch b left join standing l using (key_hi, key_lo)
            where b.kind = 0 and (l.rev is null or b.rev > l.rev)) group by all""")
    run("""insert into standing select key_hi, key_lo, rev, kind, cust, meter, dim, time, qty from batch
        on conflict do update set rev = excluded.rev, kind = excluded.kind, cust = excluded.cust, meter = excluded.meter,
        dim = excluded.dim, time = excluded.time, qty = excluded.qty where excluded.rev > standing.rev""")
    run("insert into hourly select cust, meter, dim, hour, n, q from touched on conflict do update set n = hourly.n + excluded.n, s = hourly.s + excluded.s")
    run(CHARGES)
    run(INVOICES)
    run("commit")


clock = Clock()
compute_anew() if way == "anew" else build_keyed()
load = clock.seconds(), clock.processors()
loaded = run(TOTALS).fetchone()
if way == "upsert":
    run("create unique index hours on hourly(cust, meter, dim, hour)")
refreshes = []
for start in range(0, 5000, 1000):
    clock = Clock()
    refresh_anew(start) if way == "anew" else refresh_touched(start)
    refreshes.append(clock.seconds())
kind = "computed anew" if way == "anew" else "upsert by key"
say(f"DuckDB {duckdb.__version__}, {kind}", load, loaded, refreshes, run(TOTALS).fetchone())
