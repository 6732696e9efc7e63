//! The SQL types of our results, as ODBC drivers list them.

use std::sync::LazyLock;

use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType};

/// The list; built once.
pub static TYPES: LazyLock<XdbcTypeInfoData> = LazyLock::new(|| {
    let mut list = XdbcTypeInfoDataBuilder::new();
    for (name, kind, digits, quoted) in KINDS {
        list.append(type_info(name, kind, digits, quoted));
    }
    list.build().expect("the list is well formed")
});

/// The name, the protocol's type, how many digits or signs, and whether literals are quoted.
const KINDS: [(&str, XdbcDataType, i32, bool); 9] = [
    ("BOOLEAN", XdbcDataType::XdbcBit, 1, false),
    ("BIGINT", XdbcDataType::XdbcBigint, 19, false),
    ("INTEGER", XdbcDataType::XdbcInteger, 10, false),
    ("DECIMAL", XdbcDataType::XdbcDecimal, 38, false),
    ("DOUBLE", XdbcDataType::XdbcDouble, 15, false),
    ("VARCHAR", XdbcDataType::XdbcVarchar, i32::MAX, true),
    ("DATE", XdbcDataType::XdbcDate, 10, true),
    ("TIMESTAMP", XdbcDataType::XdbcTimestamp, 26, true),
    ("VARBINARY", XdbcDataType::XdbcVarbinary, i32::MAX, true),
];

fn type_info(name: &str, kind: XdbcDataType, digits: i32, quoted: bool) -> XdbcTypeInfo {
    let mark = quoted.then(|| "'".to_owned());
    let decimal = kind == XdbcDataType::XdbcDecimal;
    XdbcTypeInfo {
        type_name: name.to_owned(),
        data_type: kind,
        column_size: Some(digits),
        literal_prefix: mark.clone(),
        literal_suffix: mark,
        create_params: decimal.then(|| vec!["precision".into(), "scale".into()]),
        nullable: Nullable::NullabilityNullable,
        case_sensitive: kind == XdbcDataType::XdbcVarchar,
        searchable: Searchable::Full,
        unsigned_attribute: (!quoted).then_some(false),
        fixed_prec_scale: false,
        auto_increment: Some(false),
        local_type_name: Some(name.to_owned()),
        minimum_scale: decimal.then_some(0),
        maximum_scale: decimal.then_some(38),
        sql_data_type: kind,
        datetime_subcode: None,
        num_prec_radix: (!quoted).then_some(10),
        interval_precision: None,
    }
}
