"""Puts batches as pyarrow does, with and without reading the answers, and tries ADBC's bulk load."""

import json
import sys

import adbc_driver_flightsql.dbapi
import pyarrow
import pyarrow.flight

ADDRESS = f"grpc://{sys.argv[1]}"
TABLE = pyarrow.table({
    "id": ["1", "2", "3"],
    "source": pyarrow.array(["/a", "/a", "/b"]).dictionary_encode(),
    "tokens": [1, 2, 3],
})


def puts_and_reads(client):
    """Each batch is answered while the stream is open."""
    writer, reader = client.do_put(pyarrow.flight.FlightDescriptor.for_path("events"), TABLE.schema)
    with writer:
        for number in (1, 2, 3):
            writer.write_table(TABLE)
            answer = json.loads(reader.read().to_pybytes())
            assert answer == {"batch": number, "epoch": 7}, answer
        writer.done_writing()
        assert reader.read() is None


def puts_blindly(client):
    """Who reads no answers gets no error."""
    writer, _ = client.do_put(pyarrow.flight.FlightDescriptor.for_path("events"), TABLE.schema)
    with writer:
        for _ in range(50):
            writer.write_table(TABLE)


def is_refused(client):
    """A path that takes nothing says which does."""
    try:
        writer, reader = client.do_put(pyarrow.flight.FlightDescriptor.for_path("usage"), TABLE.schema)
        writer.done_writing()
        reader.read()
        writer.close()
    except pyarrow.ArrowInvalid as error:
        assert 'put usage events at ["events"]' in str(error), error
    else:
        raise AssertionError("a put to a view was taken")


def bulk_load_is_refused():
    """ADBC's ingest is another thing than a put of events."""
    with adbc_driver_flightsql.dbapi.connect(ADDRESS, autocommit=True) as connection:
        with connection.cursor() as cursor:
            try:
                cursor.adbc_ingest("events", TABLE, mode="append")
            except Exception as error:  # the driver has a class for each code
                assert "DoPut at the path" in str(error), error
            else:
                raise AssertionError("a bulk load was taken")


client = pyarrow.flight.connect(ADDRESS)
puts_and_reads(client)
puts_blindly(client)
is_refused(client)
bulk_load_is_refused()
print("puts: 4 steps")
