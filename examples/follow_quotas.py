"""Follows quota states as they change, and goes on where it stopped.

    pip install pyarrow
    python3 examples/follow_quotas.py [grpc://127.0.0.1:8815] [epoch]
"""

import sys

import pyarrow.flight as flight

address = sys.argv[1] if len(sys.argv) > 1 else "grpc://127.0.0.1:8815"
# Without an epoch the states as they are come first; with one, only what changed since.
path = ["changes", "quotas", *sys.argv[2:3]]

client = flight.connect(address)
info = client.get_flight_info(flight.FlightDescriptor.for_path(*path))
for chunk in client.do_get(info.endpoints[0].ticket):
    for row in chunk.data.to_pylist():
        if row["_progress"]:
            # Everything up to and with this epoch has been told: remember it to go on from here.
            print(f"-- epoch {row['_time']} is whole", flush=True)
        elif row["_diff"] > 0:
            print(f"{row['customer']}: {row['feature']} is {row['state']},", f"{row['used']:.0f} of {row['quota_limit']:.0f}")
