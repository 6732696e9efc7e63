//! Answers what catalogs, schemas, tables, keys and types there are.
//!
//! Every answer is one batch, and its columns are those of the protocol even when it has no
//! rows. The only catalog and schema hold every view as a table.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow_flight::error::FlightError;
use arrow_flight::sql::{Command, CommandGetPrimaryKeys, CommandGetTables};

use super::sql_info::SQL_INFO;
use super::types::TYPES;
use crate::error::Error;
use crate::sql::{CATALOG, SCHEMA};
use crate::view::View;
use crate::wire;

/// The answer to a catalog command; nothing if `command` is not one.
pub fn answer(command: Command) -> Result<Option<RecordBatch>, Error> {
    let answer = match command {
        Command::CommandGetCatalogs(asked) => {
            let mut catalogs = asked.into_builder();
            catalogs.append(CATALOG);
            catalogs.build()
        }
        Command::CommandGetDbSchemas(asked) => {
            let mut schemas = asked.into_builder();
            schemas.append(CATALOG, SCHEMA);
            schemas.build()
        }
        Command::CommandGetTables(asked) => tables(asked),
        Command::CommandGetTableTypes(asked) => {
            let mut types = asked.into_builder();
            types.append("TABLE");
            types.build()
        }
        Command::CommandGetSqlInfo(asked) => asked.into_builder(&SQL_INFO).build(),
        Command::CommandGetXdbcTypeInfo(asked) => asked.into_builder(&TYPES).build(),
        Command::CommandGetPrimaryKeys(asked) => return primary_keys(&asked).map(Some),
        Command::CommandGetImportedKeys(_)
        | Command::CommandGetExportedKeys(_)
        | Command::CommandGetCrossReference(_) => return Ok(Some(no_foreign_keys())),
        _ => return Ok(None),
    };
    answer.map(Some).map_err(failed)
}

fn tables(mut asked: CommandGetTables) -> Result<RecordBatch, FlightError> {
    // Each tool has its own name for a table, so types are compared here and not by the library.
    let types = std::mem::take(&mut asked.table_types);
    let wanted = |kind: &String| ["TABLE", "BASE TABLE"].iter().any(|name| kind.eq_ignore_ascii_case(name));
    let listed = types.is_empty() || types.iter().any(wanted);
    let mut tables = asked.into_builder();
    for view in View::ALL.into_iter().filter(|_| listed) {
        tables.append(CATALOG, SCHEMA, view.name(), "TABLE", &table_schema(view))?;
    }
    tables.build()
}

/// The columns of a view as catalogs describe them.
fn table_schema(view: View) -> Schema {
    let place = [("CATALOG_NAME", CATALOG), ("SCHEMA_NAME", SCHEMA), ("TABLE_NAME", view.name())];
    let place = place.map(|(key, value)| (format!("ARROW:FLIGHT:SQL:{key}"), value.to_owned()));
    let sent = wire::sent_schema(&view.schema());
    let placed = |field: &Field| {
        let mut facts = field.metadata().clone();
        facts.extend(place.clone());
        field.clone().with_metadata(facts)
    };
    Schema::new(sent.fields().iter().map(|field| placed(field)).collect::<Vec<_>>())
}

fn primary_keys(asked: &CommandGetPrimaryKeys) -> Result<RecordBatch, Error> {
    let here = asked.catalog.as_deref().is_none_or(|name| name == CATALOG)
        && asked.db_schema.as_deref().is_none_or(|name| name == SCHEMA);
    let view = View::named(&asked.table).filter(|_| here);
    let columns: Vec<_> = view.map(|view| view.key().iter().map(|column| column.name).collect()).unwrap_or_default();
    let same = |value: &str| Arc::new(StringArray::from(vec![value; columns.len()])) as ArrayRef;
    let numbers = Int32Array::from_iter_values((1..).take(columns.len()));
    let key = format!("{}_key", asked.table);
    let arrays = [
        same(CATALOG),
        same(SCHEMA),
        same(&asked.table),
        Arc::new(StringArray::from(columns.clone())),
        Arc::new(numbers),
        same(&key),
    ];
    Ok(RecordBatch::try_new(Arc::new(primary_key_schema()), arrays.to_vec())?)
}

fn primary_key_schema() -> Schema {
    Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("key_name", DataType::Utf8, true),
    ])
}

fn no_foreign_keys() -> RecordBatch {
    RecordBatch::new_empty(Arc::new(Schema::new(vec![
        Field::new("pk_catalog_name", DataType::Utf8, true),
        Field::new("pk_db_schema_name", DataType::Utf8, true),
        Field::new("pk_table_name", DataType::Utf8, false),
        Field::new("pk_column_name", DataType::Utf8, false),
        Field::new("fk_catalog_name", DataType::Utf8, true),
        Field::new("fk_db_schema_name", DataType::Utf8, true),
        Field::new("fk_table_name", DataType::Utf8, false),
        Field::new("fk_column_name", DataType::Utf8, false),
        Field::new("key_sequence", DataType::Int32, false),
        Field::new("fk_key_name", DataType::Utf8, true),
        Field::new("pk_key_name", DataType::Utf8, true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ])))
}

fn failed(error: FlightError) -> Error {
    Error::NotUnderstood(format!("the catalog command is not understood: {error}"))
}
