"""Follows quota states as they change, and goes on where it stopped, also when the server was away.

    pip install pyarrow
    python3 examples/follow_quotas.py [grpc://127.0.0.1:8815] [epoch]
"""

import sys
import time

import pyarrow
import pyarrow.flight as flight

address = sys.argv[1] if len(sys.argv) > 1 else "grpc://127.0.0.1:8815"
# Without an epoch the states as they are come first; with one, only what changed since.
epoch = sys.argv[2] if len(sys.argv) > 2 else None


def follow():
    """Prints what changes after the last epoch that was whole, for as long as the server is there."""
    global epoch
    path = ["changes", "quotas", *([epoch] if epoch else [])]
    client = flight.connect(address)
    info = client.get_flight_info(flight.FlightDescriptor.for_path(*path))
    for chunk in client.do_get(info.endpoints[0].ticket):
        for row in chunk.data.to_pylist():
            if row["_progress"]:
                # Everything up to and with this epoch has been told: it is where to go on from. Told again when
                # nothing changed, it says that the server is there.
                if epoch != str(row["_time"]):
                    epoch = str(row["_time"])
                    print(f"-- epoch {epoch} is whole", flush=True)
            elif row["_diff"] > 0:
                print(f"{row['customer']}: {row['feature']} is {row['state']},", f"{row['used']:.0f} of {row['quota_limit']:.0f}")


while True:
    try:
        follow()
    except pyarrow.ArrowInvalid as error:
        # A server that was started again does not know what changed before: all states come anew.
        if epoch is None:
            raise
        print(f"-- {str(error).splitlines()[0]}", file=sys.stderr, flush=True)
        epoch = None
        continue
    except flight.FlightUnavailableError as error:
        print(f"-- the server is away, it is asked again: {str(error).splitlines()[0]}", file=sys.stderr, flush=True)
    time.sleep(1)
