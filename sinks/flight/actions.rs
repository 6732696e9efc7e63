//! What clients do apart from reading: prepare, begin, end, cancel, renew, set options.

use arrow_flight::sql::{
    ActionBeginTransactionResult, ActionCancelQueryRequest, ActionCancelQueryResult,
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, ActionEndTransactionRequest, Any,
    ProstMessageExt,
};
use arrow_flight::{
    Action, ActionType, CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, FlightEndpoint, FlightInfo,
    RenewFlightEndpointRequest,
};
use prost::Message;
use prost::bytes::Bytes;

use super::encode::schema_bytes;
use super::offer::{Desk, Said};
use super::running::Running;
use super::sessions;
use super::ticket::{HANDLE, Handle, Query, TICKET, TRANSACTION};
use crate::error::Error;
use crate::subscribe::follow;

/// The actions there are, and what each does.
const ACTIONS: [(&str, &str); 10] = [
    ("CreatePreparedStatement", "understands a statement once, to be run with values"),
    ("ClosePreparedStatement", "forgets a prepared statement"),
    ("BeginTransaction", "holds the newest epoch, so that several statements read the same"),
    ("EndTransaction", "lets go of the epoch that a transaction held"),
    ("CancelQuery", "stops the answers of a FlightInfo, asked by Flight SQL"),
    ("CancelFlightInfo", "stops the answers of a FlightInfo"),
    ("RenewFlightEndpoint", "makes the ticket of an endpoint good for longer"),
    ("SetSessionOptions", "names the catalog and schema"),
    ("GetSessionOptions", "tells the catalog and schema"),
    ("CloseSession", "ends a session, of which nothing is kept"),
];

/// The list of actions.
pub fn list() -> Vec<ActionType> {
    let entry = |(name, does): (&str, &str)| ActionType { r#type: name.into(), description: does.into() };
    ACTIONS.map(entry).to_vec()
}

/// Does `action`; gives the body of its result, or nothing where the protocol has none.
pub async fn act(desk: &Desk, running: &Running, action: Action) -> Result<Option<Vec<u8>>, Error> {
    match action.r#type.as_str() {
        "CreatePreparedStatement" => prepare(desk, unpacked(&action)?).await.map(Some),
        // Nothing is kept, so anything can be closed; an error would make drivers throw.
        "ClosePreparedStatement" => Ok(None),
        "BeginTransaction" => begin(desk).map(Some),
        "EndTransaction" => end(desk, &unpacked(&action)?).map(|()| None),
        "CancelQuery" => cancel_query(running, &unpacked(&action)?).map(Some),
        "CancelFlightInfo" => cancel_flight(running, &plain(&action)?).map(Some),
        "RenewFlightEndpoint" => renew(desk, plain(&action)?).map(Some),
        "SetSessionOptions" => Ok(Some(sessions::set(&action.body)?.encode_to_vec())),
        "GetSessionOptions" => Ok(Some(sessions::get().encode_to_vec())),
        "CloseSession" => Ok(Some(sessions::close().encode_to_vec())),
        other => Err(Error::Unsupported(format!("the action {other}"))),
    }
}

async fn prepare(desk: &Desk, asked: ActionCreatePreparedStatementRequest) -> Result<Vec<u8>, Error> {
    let transaction = desk.transaction(asked.transaction_id.as_ref())?;
    let (result, parameters) = match desk.understand_with_prefix(&asked.query).await? {
        Said::Follow(request) => (schema_bytes(&*follow::schema(&request, &desk.sql).await?)?, Bytes::new()),
        Said::Query(statement) => (schema_bytes(&statement.schema)?, schema_bytes(&statement.parameters)?),
    };
    let query = Query { text: asked.query, values: None };
    let handle = sealed_handle(desk, query, transaction);
    let reply = ActionCreatePreparedStatementResult {
        prepared_statement_handle: handle,
        dataset_schema: result,
        parameter_schema: parameters,
    };
    Ok(reply.as_any().encode_to_vec())
}

/// The handle of a statement, good for as long as a ticket.
pub fn sealed_handle(desk: &Desk, query: Query, transaction: Option<u64>) -> Bytes {
    let expiry = desk.seal.expiry(desk.limits.ticket_age_max);
    desk.seal.seal(HANDLE, &Handle { query: Some(query), transaction, expiry })
}

fn begin(desk: &Desk) -> Result<Vec<u8>, Error> {
    let transaction_id = desk.seal.seal(TRANSACTION, &desk.moments.lease()?);
    Ok(ActionBeginTransactionResult { transaction_id }.as_any().encode_to_vec())
}

// Nothing was written, so a commit and a rollback are the same.
fn end(desk: &Desk, asked: &ActionEndTransactionRequest) -> Result<(), Error> {
    if let Some(number) = desk.transaction(Some(&asked.transaction_id))? {
        desk.moments.release(number);
    }
    Ok(())
}

fn cancel_query(running: &Running, asked: &ActionCancelQueryRequest) -> Result<Vec<u8>, Error> {
    let info = FlightInfo::decode(asked.info.clone()).map_err(|_| not_understood("CancelQuery"))?;
    let result = cancelled(running, &info) as i32;
    Ok(ActionCancelQueryResult { result }.as_any().encode_to_vec())
}

fn cancel_flight(running: &Running, asked: &CancelFlightInfoRequest) -> Result<Vec<u8>, Error> {
    let info = asked.info.as_ref().ok_or_else(|| not_understood("CancelFlightInfo"))?;
    let status = cancelled(running, info) as i32;
    Ok(CancelFlightInfoResult { status }.encode_to_vec())
}

/// Both protocols number their outcomes alike.
fn cancelled(running: &Running, info: &FlightInfo) -> CancelStatus {
    let tickets = info.endpoint.iter().filter_map(|endpoint| endpoint.ticket.as_ref());
    match tickets.filter(|ticket| running.cancel(&ticket.ticket)).count() {
        0 => CancelStatus::NotCancellable,
        _ => CancelStatus::Cancelled,
    }
}

fn renew(desk: &Desk, asked: RenewFlightEndpointRequest) -> Result<Vec<u8>, Error> {
    let mut endpoint: FlightEndpoint = asked.endpoint.ok_or_else(|| not_understood("RenewFlightEndpoint"))?;
    let carried = endpoint.ticket.as_mut().ok_or_else(|| not_understood("RenewFlightEndpoint"))?;
    let mut ticket = desk.ticket(&carried.ticket)?;
    ticket.expiry = desk.seal.expiry(desk.limits.ticket_age_max);
    carried.ticket = desk.seal.seal(TICKET, &ticket);
    Ok(endpoint.encode_to_vec())
}

fn unpacked<M: ProstMessageExt>(action: &Action) -> Result<M, Error> {
    let any = Any::decode(action.body.clone()).map_err(|_| not_understood(&action.r#type))?;
    any.unpack().ok().flatten().ok_or_else(|| not_understood(&action.r#type))
}

fn plain<M: Message + Default>(action: &Action) -> Result<M, Error> {
    M::decode(action.body.clone()).map_err(|_| not_understood(&action.r#type))
}

fn not_understood(action: &str) -> Error {
    Error::NotUnderstood(format!("the body of the action {action} is not understood"))
}
