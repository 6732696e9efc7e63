"""Drives pyarrow.flight and the ADBC Flight SQL driver against a server.

Usage: python clients.py HOST:PORT

The server must hold 24 rows of acme's usage, 10 units each, and a ledger that goes on changing.
Each step prints its name when it has passed; the first that fails ends the script.
"""

import json
import sys
from decimal import Decimal

import adbc_driver_flightsql.dbapi as flightsql
import pyarrow as pa
import pyarrow.flight as flight

ADDRESS = "grpc://" + sys.argv[1]


def step(check):
    check()
    print("ok:", check.__doc__)


def connect(**more):
    return flightsql.connect(ADDRESS, autocommit=True, **more)


def path(*parts):
    return flight.FlightDescriptor.for_path(*parts)


@step
def pyarrow_reads_a_view():
    """pyarrow reads a view by path, and FlightInfo tells its columns"""
    client = flight.connect(ADDRESS)
    info = client.get_flight_info(path("usage_hourly"))
    table = client.do_get(info.endpoints[0].ticket).read_all()
    assert table.schema.equals(info.schema), (table.schema, info.schema)
    assert table.num_rows == 24
    assert set(table["quantity"].to_pylist()) == {Decimal(10)}
    assert json.loads(info.app_metadata)["epoch"] >= 2
    assert client.get_schema(path("usage_hourly")).schema.equals(info.schema)


@step
def pyarrow_lists():
    """pyarrow lists flights and actions"""
    client = flight.connect(ADDRESS)
    names = {tuple(info.descriptor.path) for info in client.list_flights()}
    assert (b"usage",) in names and (b"changes", b"usage") in names
    assert "CreatePreparedStatement" in {action.type for action in client.list_actions()}


@step
def pyarrow_follows():
    """pyarrow follows changes, sees metadata, and cancels"""
    client = flight.connect(ADDRESS)
    info = client.get_flight_info(path("changes", "ledger"))
    reader = client.do_get(info.endpoints[0].ticket)
    sums, resume = {}, None
    while resume is None or resume < json.loads(info.app_metadata)["epoch"] + 10:
        chunk = reader.read_chunk()
        told = json.loads(chunk.app_metadata.to_pybytes())
        for row in chunk.data.to_pylist():
            if row["_progress"]:
                assert row["_time"] == told["resume"]
                continue
            key = (row["state"], row["events"])
            sums[key] = sums.get(key, 0) + row["_diff"]
        resume = told.get("resume", resume)
        present = [key for key, count in sums.items() if count]
        assert resume is None or present == [("counted", resume + 22)], (present, resume)
    reader.cancel()


@step
def pyarrow_resumes():
    """pyarrow takes a snapshot and later pulls only what changed"""
    client = flight.connect(ADDRESS)
    info = client.get_flight_info(path("snapshot", "ledger"))
    before = client.do_get(info.endpoints[0].ticket).read_all().to_pylist()
    epoch = json.loads(info.app_metadata)["epoch"]
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SUBSCRIBE ledger AS OF {epoch} UP TO {epoch + 5} WITH (SNAPSHOT = false)")
        rows = cursor.fetch_arrow_table().to_pylist()
    total = sum(row["_diff"] * row["events"] for row in rows if not row["_progress"])
    assert before[0]["events"] + total == before[0]["events"] + 5


@step
def adbc_selects():
    """ADBC selects, with exact decimals and UTC times"""
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT customer, sum(quantity) AS q, min(window_start) AS w FROM usage_hourly GROUP BY customer")
        table = cursor.fetch_arrow_table()
        assert table.to_pylist()[0]["q"] == Decimal(240)
        assert table.schema.field("w").type == pa.timestamp("us", "UTC")
        cursor.execute("SELECT * FROM invoices")
        assert cursor.fetchall() == []


@step
def adbc_binds():
    """ADBC binds values to question marks"""
    with connect() as connection, connection.cursor() as cursor:
        text = "SELECT count(*) FROM usage_hourly WHERE customer = ? AND quantity >= ?"
        for quantity in (10, Decimal("9.5"), "10.000"):
            cursor.execute(text, ("acme", quantity))
            assert cursor.fetchone() == (24,), quantity
        cursor.execute(text, ("nobody", 0))
        assert cursor.fetchone() == (0,)


@step
def adbc_follows():
    """ADBC follows changes as rows, and closing the cursor ends it"""
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("SUBSCRIBE ledger")
        batches = cursor.fetch_record_batch()
        seen = 0
        while seen < 10:
            seen += batches.read_next_batch().num_rows
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("SUBSCRIBE (SELECT sum(events) AS events FROM ledger) WITH (PROGRESS = false)")
        batches = cursor.fetch_record_batch()
        rows = []
        while len(rows) < 5:
            rows += batches.read_next_batch().to_pylist()
        assert rows[0]["_diff"] == 1 and rows[0]["_progress"] is False


@step
def adbc_holds_a_moment():
    """ADBC without autocommit reads one epoch until it commits"""
    with flightsql.connect(ADDRESS) as connection, connection.cursor() as cursor:
        def epoch():
            cursor.execute("SELECT as_of(), events FROM ledger")
            return cursor.fetchone()

        first, second = epoch(), epoch()
        assert first == second, (first, second)
        connection.commit()
        with connect() as other, other.cursor() as newest:
            newest.execute("SELECT as_of()")
            assert newest.fetchone()[0] >= first[0]
        connection.commit()
        assert epoch()[0] > first[0]


@step
def adbc_waits_for_an_epoch():
    """ADBC waits for an epoch that its header names"""
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT as_of()")
        wanted = cursor.fetchone()[0] + 5
    header = {"adbc.flight.sql.rpc.call_header.x-trueup-min-epoch": str(wanted)}
    with connect(db_kwargs=header) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT as_of()")
        assert cursor.fetchone()[0] >= wanted


@step
def adbc_looks_around():
    """ADBC finds catalogs, tables, columns and their types"""
    with connect() as connection:
        objects = connection.adbc_get_objects(depth="all").read_all().to_pylist()
        (catalog,) = objects
        (schema,) = catalog["catalog_db_schemas"]
        tables = {table["table_name"]: table for table in schema["db_schema_tables"]}
        assert (catalog["catalog_name"], schema["db_schema_name"]) == ("trueup", "public")
        assert tables["usage"]["table_type"] == "TABLE"
        columns = {column["column_name"]: column for column in tables["usage"]["table_columns"]}
        assert columns["quantity"]["xdbc_type_name"] == "DECIMAL", columns["quantity"]
        assert connection.adbc_get_info()["vendor_name"] == "trueup"
        assert connection.adbc_get_table_types() == ["TABLE"]
        assert connection.adbc_get_table_schema("ledger").names == ["state", "events"]
        assert connection.adbc_current_catalog == "trueup"
        assert connection.adbc_current_db_schema == "public"


@step
def adbc_changes_nothing():
    """ADBC is refused every change, with the reason"""
    with connect() as connection, connection.cursor() as cursor:
        for text in ("DELETE FROM ledger", "CREATE TABLE t (a INT)", "INSERT INTO ledger VALUES ('x', 1)"):
            try:
                cursor.execute(text)
            except flightsql.Error as error:
                assert "read only" in str(error), error
            else:
                raise AssertionError(text)
        try:
            cursor.adbc_ingest("ledger", pa.table({"state": ["x"], "events": [1]}), mode="append")
        except flightsql.Error as error:
            assert "read only" in str(error), error
        else:
            raise AssertionError("a bulk load was taken")
