"""to_parquet.py EVENTS COUNT MONTH AFTER: the first COUNT events of the binary file EVENTS as
the Parquet file MONTH, the others as AFTER, in columns of integers."""

import sys

import numpy
import pyarrow
import pyarrow.parquet

EVENT = numpy.dtype([
    ("key_hi", "<u8"), ("key_lo", "<u8"), ("quantity", "<i8"), ("second", "<u4"), ("customer", "<u4"),
    ("user", "<u4"), ("revision", "<u2"), ("meter", "u1"), ("retract", "u1"), ("dimensions", "u1", (3,)),
    ("source", "u1"), ("padding", "<u4"),
])
assert EVENT.itemsize == 48


def table(events):
    region, plan, model = events["dimensions"].T.astype("i4")
    return pyarrow.table({
        "key_hi": events["key_hi"],
        "key_lo": events["key_lo"],
        "rev": events["revision"].astype("i4"),
        "kind": events["retract"].astype("i4"),
        "cust": events["customer"].astype("i4"),
        "meter": events["meter"].astype("i4"),
        "dim": region + 4 * (plan + 3 * model),
        "time": events["second"].astype("i8"),
        "qty": events["quantity"],
    })


path, count, month, after = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
events = numpy.fromfile(path, dtype=EVENT)
pyarrow.parquet.write_table(table(events[:count]), month, compression="snappy")
pyarrow.parquet.write_table(table(events[count:]), after, compression="snappy")
