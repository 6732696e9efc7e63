//! What drivers ask about the server once and then believe: the whole table, each value typed.
//!
//! It is whole because the Java driver fails on the first missing entry, and typed as the
//! protocol says because drivers read each entry by its type.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{SqlInfo, SqlSupportedTransaction};

/// The table; built once, since nothing in it changes.
pub static SQL_INFO: LazyLock<SqlInfoData> = LazyLock::new(|| {
    let mut table = SqlInfoDataBuilder::new();
    TEXTS.iter().for_each(|(name, value)| table.append(*name, *value));
    TRUTHS.iter().for_each(|(name, value)| table.append(*name, *value));
    MASKS.iter().for_each(|(name, value)| table.append(*name, *value));
    LENGTHS.iter().for_each(|(name, value)| table.append(*name, *value));
    LISTS.iter().for_each(|(name, value)| table.append(*name, *value));
    table.append(SqlInfo::SqlSupportsConvert, BTreeMap::<i32, Vec<i32>>::new());
    table.build().expect("the table is well formed")
});

const TEXTS: [(SqlInfo, &str); 9] = [
    (SqlInfo::FlightSqlServerName, "trueup"),
    (SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION")),
    (SqlInfo::FlightSqlServerArrowVersion, arrow::ARROW_VERSION),
    (SqlInfo::SqlIdentifierQuoteChar, "\""),
    (SqlInfo::SqlSearchStringEscape, "\\"),
    (SqlInfo::SqlExtraNameCharacters, ""),
    (SqlInfo::SqlSchemaTerm, "schema"),
    (SqlInfo::SqlProcedureTerm, "procedure"),
    (SqlInfo::SqlCatalogTerm, "catalog"),
];

const TRUTHS: [(SqlInfo, bool); 32] = [
    (SqlInfo::FlightSqlServerReadOnly, true),
    (SqlInfo::FlightSqlServerSql, true),
    (SqlInfo::FlightSqlServerSubstrait, false),
    (SqlInfo::FlightSqlServerCancel, true),
    (SqlInfo::FlightSqlServerBulkIngestion, false),
    (SqlInfo::FlightSqlServerIngestTransactionsSupported, false),
    (SqlInfo::SqlDdlCatalog, false),
    (SqlInfo::SqlDdlSchema, false),
    (SqlInfo::SqlDdlTable, false),
    (SqlInfo::SqlAllTablesAreSelectable, true),
    (SqlInfo::SqlSupportsColumnAliasing, true),
    (SqlInfo::SqlNullPlusNullIsNull, true),
    (SqlInfo::SqlSupportsTableCorrelationNames, true),
    (SqlInfo::SqlSupportsDifferentTableCorrelationNames, false),
    (SqlInfo::SqlSupportsExpressionsInOrderBy, true),
    (SqlInfo::SqlSupportsOrderByUnrelated, true),
    (SqlInfo::SqlSupportsLikeEscapeClause, true),
    (SqlInfo::SqlSupportsNonNullableColumns, true),
    (SqlInfo::SqlSupportsIntegrityEnhancementFacility, false),
    (SqlInfo::SqlCatalogAtStart, true),
    (SqlInfo::SqlSelectForUpdateSupported, false),
    (SqlInfo::SqlStoredProceduresSupported, false),
    (SqlInfo::SqlCorrelatedSubqueriesSupported, true),
    (SqlInfo::SqlMaxRowSizeIncludesBlobs, true),
    // False, although there are read transactions: the Java driver never begins one, so its
    // users would believe in a commit that does nothing.
    (SqlInfo::SqlTransactionsSupported, false),
    (SqlInfo::SqlDataDefinitionCausesTransactionCommit, false),
    (SqlInfo::SqlDataDefinitionsInTransactionsIgnored, false),
    (SqlInfo::SqlBatchUpdatesSupported, false),
    (SqlInfo::SqlSavepointsSupported, false),
    (SqlInfo::SqlNamedParametersSupported, false),
    (SqlInfo::SqlLocatorsUpdateCopy, false),
    (SqlInfo::SqlStoredFunctionsUsingCallSyntaxSupported, false),
];

/// Choices and sets of choices: bit n is choice n of the protocol's own list.
const MASKS: [(SqlInfo, i32); 21] = [
    (SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::Transaction as i32),
    (SqlInfo::FlightSqlServerStatementTimeout, 0),
    (SqlInfo::FlightSqlServerTransactionTimeout, 0),
    // Names without quotes are read in small letters.
    (SqlInfo::SqlIdentifierCase, 3),
    (SqlInfo::SqlQuotedIdentifierCase, 0),
    // Empty values sort as if higher than all others.
    (SqlInfo::SqlNullOrdering, 0),
    (SqlInfo::SqlSupportedGroupBy, 0b11),
    (SqlInfo::SqlSupportedGrammar, 0b11),
    (SqlInfo::SqlAnsi92SupportedLevel, 0b1),
    (SqlInfo::SqlOuterJoinsSupportLevel, 0b110),
    (SqlInfo::SqlSchemasSupportedActions, 0),
    (SqlInfo::SqlCatalogsSupportedActions, 0),
    (SqlInfo::SqlSupportedPositionedCommands, 0),
    (SqlInfo::SqlSupportedSubqueries, 0b111),
    (SqlInfo::SqlSupportedUnions, 0b11),
    (SqlInfo::SqlSupportedTransactionsIsolationLevels, 0b1),
    (SqlInfo::SqlSupportedResultSetTypes, 0b10),
    (SqlInfo::SqlSupportedConcurrenciesForResultSetUnspecified, 0),
    (SqlInfo::SqlSupportedConcurrenciesForResultSetForwardOnly, 0b10),
    (SqlInfo::SqlSupportedConcurrenciesForResultSetScrollSensitive, 0),
    (SqlInfo::SqlSupportedConcurrenciesForResultSetScrollInsensitive, 0),
];

/// Lengths and counts; 0 is no limit, or none known.
const LENGTHS: [(SqlInfo, i64); 21] = [
    (SqlInfo::SqlMaxBinaryLiteralLength, 0),
    (SqlInfo::SqlMaxCharLiteralLength, 0),
    (SqlInfo::SqlMaxColumnNameLength, 0),
    (SqlInfo::SqlMaxColumnsInGroupBy, 0),
    (SqlInfo::SqlMaxColumnsInIndex, 0),
    (SqlInfo::SqlMaxColumnsInOrderBy, 0),
    (SqlInfo::SqlMaxColumnsInSelect, 0),
    (SqlInfo::SqlMaxColumnsInTable, 0),
    (SqlInfo::SqlMaxConnections, 0),
    (SqlInfo::SqlMaxCursorNameLength, 0),
    (SqlInfo::SqlMaxIndexLength, 0),
    (SqlInfo::SqlDbSchemaNameLength, 0),
    (SqlInfo::SqlMaxProcedureNameLength, 0),
    (SqlInfo::SqlMaxCatalogNameLength, 0),
    (SqlInfo::SqlMaxRowSize, 0),
    (SqlInfo::SqlMaxStatementLength, 65_536),
    (SqlInfo::SqlMaxStatements, 0),
    (SqlInfo::SqlMaxTableNameLength, 0),
    (SqlInfo::SqlMaxTablesInSelect, 0),
    (SqlInfo::SqlMaxUsernameLength, 0),
    (SqlInfo::SqlDefaultTransactionIsolation, 0),
];

const LISTS: [(SqlInfo, &[&str]); 5] = [
    (SqlInfo::SqlKeywords, &["SUBSCRIBE", "SNAPSHOT", "PROGRESS"]),
    (SqlInfo::SqlNumericFunctions, &["abs", "ceil", "exp", "floor", "ln", "log10", "power", "round", "sqrt", "trunc"]),
    (SqlInfo::SqlStringFunctions, &["concat", "length", "lower", "ltrim", "rtrim", "substr", "trim", "upper"]),
    (SqlInfo::SqlSystemFunctions, &["as_of", "coalesce", "nullif"]),
    (SqlInfo::SqlDatetimeFunctions, &["current_date", "date_part", "date_trunc", "now", "to_timestamp"]),
];
