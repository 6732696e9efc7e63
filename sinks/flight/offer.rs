//! From what a client describes to what it will be given: columns, a ticket, an epoch.
//!
//! Nothing is read yet. The moment is chosen here, once, and written into the ticket, so that
//! every later read of it sees the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::SchemaRef;
use arrow_flight::FlightDescriptor;
use arrow_flight::flight_descriptor::DescriptorType;
use arrow_flight::sql::{Any, Command};
use prost::Message;
use prost::bytes::Bytes;
use tonic::metadata::MetadataMap;

use super::descriptor::Path;
use super::seal::Seal;
use super::ticket::{Ask, Follow, HANDLE, Handle, Query, TICKET, TRANSACTION, Ticket};
use super::{bind, catalog, headers};
use crate::error::Error;
use crate::limits::Limits;
use crate::moments::Moments;
use crate::reading::{Epoch, Reading};
use crate::scans::Scans;
use crate::sql::{Sql, Statement};
use crate::subscribe::{Request, Target, follow};
use crate::wire;

/// Makes offers.
pub struct Desk {
    /// The moments that can be read.
    pub moments: Arc<Moments>,
    /// Plans and runs statements.
    pub sql: Arc<Sql>,
    /// Signs tickets and handles.
    pub seal: Seal,
    /// Bounds, of which ages matter here.
    pub limits: Limits,
    /// Turns to read views.
    pub scans: Scans,
    tickets: AtomicU64,
}

/// What a client may fetch.
pub struct Offer {
    /// The columns, exactly as they will be sent.
    pub schema: SchemaRef,
    /// What to fetch it with.
    pub ticket: Ticket,
    /// As of which epoch it was described.
    pub epoch: Epoch,
}

/// A statement of either kind.
pub enum Said {
    /// A query.
    Query(Arc<Statement>),
    /// A subscription.
    Follow(Request),
}

impl Desk {
    /// A desk with a seal of its own.
    pub fn new(moments: Arc<Moments>, limits: Limits) -> Desk {
        let sql = Arc::new(Sql::new(limits.clone()));
        let scans = Scans::new(&limits);
        Desk { moments, sql, seal: Seal::new(), limits, scans, tickets: AtomicU64::new(0) }
    }

    /// What `descriptor` asks for.
    pub async fn offer(&self, descriptor: &FlightDescriptor, headers: &MetadataMap) -> Result<Offer, Error> {
        match descriptor.r#type() {
            DescriptorType::Path => self.offer_path(Path::parse(&descriptor.path)?, headers).await,
            DescriptorType::Cmd => self.offer_command(&descriptor.cmd, headers).await,
            DescriptorType::Unknown => Err(Error::NotUnderstood("a descriptor has a path or a command".into())),
        }
    }

    async fn offer_path(&self, path: Path, headers: &MetadataMap) -> Result<Offer, Error> {
        match path {
            Path::Newest(view) => {
                let asked = headers::epoch(headers, headers::AS_OF)?;
                let epoch = self.moment(headers, None, None).await?.epoch();
                Ok(self.offered(wire::sent_schema(&view.schema()), Ask::View(view.name().into()), epoch, asked))
            }
            Path::Snapshot(view, at) => {
                let epoch = self.moment(headers, None, at).await?.epoch();
                Ok(self.offered(wire::sent_schema(&view.schema()), Ask::View(view.name().into()), epoch, Some(epoch)))
            }
            Path::Changes(request) => self.offer_follow(request, headers, None).await,
        }
    }

    async fn offer_command(&self, command: &Bytes, headers: &MetadataMap) -> Result<Offer, Error> {
        match parsed(command)? {
            Command::CommandStatementQuery(asked) => {
                let transaction = self.transaction(asked.transaction_id.as_ref())?;
                let query = Query { text: asked.query, values: None };
                self.offer_query(query, headers, transaction).await
            }
            Command::CommandPreparedStatementQuery(asked) => {
                let handle = self.handle(&asked.prepared_statement_handle)?;
                let query = handle.query.ok_or(Error::Foreign(HANDLE))?;
                // Drivers go on using a statement after the transaction that it was prepared in.
                let transaction = handle.transaction.filter(|number| !self.moments.released(*number));
                self.offer_query(query, headers, transaction).await
            }
            other => self.offer_catalog(command, other),
        }
    }

    fn offer_catalog(&self, command: &Bytes, parsed: Command) -> Result<Offer, Error> {
        let name = command_name(parsed.type_url());
        let answer = catalog::answer(parsed)?.ok_or(Error::Unsupported(name))?;
        let epoch = self.moments.newest_unheld().epoch();
        Ok(self.offered(answer.schema(), Ask::Command(command.clone()), epoch, None))
    }

    async fn offer_query(&self, query: Query, headers: &MetadataMap, transaction: Option<u64>) -> Result<Offer, Error> {
        let (at, text) = as_of_prefix(&query.text)?;
        match self.understand(text).await? {
            Said::Follow(request) => self.offer_follow(request, headers, transaction).await,
            Said::Query(statement) => {
                let statement = bound(&statement, query.values.as_ref())?;
                let epoch = self.moment(headers, transaction, at).await?.epoch();
                let query = Query { text: text.to_owned(), values: query.values };
                Ok(self.offered(statement.schema.clone(), Ask::Query(query), epoch, Some(epoch)))
            }
        }
    }

    async fn offer_follow(
        &self,
        request: Request,
        headers: &MetadataMap,
        transaction: Option<u64>,
    ) -> Result<Offer, Error> {
        let schema = follow::schema(&request, &self.sql).await?;
        let moment = self.moment(headers, transaction, request.as_of).await?;
        let now = self.moments.newest_unheld().epoch();
        let ask = Ask::Follow(Follow::new(&request, now));
        Ok(self.offered(schema, ask, moment.epoch(), Some(moment.epoch())))
    }

    /// What `text` says, whether or not it begins with the epoch to read.
    pub async fn understand_with_prefix(&self, text: &str) -> Result<Said, Error> {
        self.understand(as_of_prefix(text)?.1).await
    }

    /// What `text` says, as a query or a subscription.
    async fn understand(&self, text: &str) -> Result<Said, Error> {
        match Request::parse(text)? {
            Some(request) => {
                if let Target::Query(query) = &request.target {
                    self.sql.plan(query).await?;
                }
                Ok(Said::Follow(request))
            }
            None => Ok(Said::Query(self.sql.plan(text).await?)),
        }
    }

    /// The moment to read: that of the transaction, the one asked for, or the newest.
    async fn moment(
        &self,
        headers: &MetadataMap,
        transaction: Option<u64>,
        asked: Option<Epoch>,
    ) -> Result<Arc<dyn Reading>, Error> {
        if let Some(least) = headers::epoch(headers, headers::MIN_EPOCH)? {
            self.moments.wait_for(least).await?;
        }
        let asked = asked.or(headers::epoch(headers, headers::AS_OF)?);
        match (asked, transaction) {
            (Some(epoch), _) => {
                self.moments.wait_for(epoch).await?;
                self.moments.at(epoch)
            }
            (None, Some(transaction)) => self.moments.leased(transaction),
            (None, None) => Ok(self.moments.newest()),
        }
    }

    fn offered(&self, schema: SchemaRef, ask: Ask, epoch: Epoch, pinned: Option<Epoch>) -> Offer {
        let ticket = Ticket {
            ask: Some(ask),
            epoch: pinned,
            expiry: self.seal.expiry(self.limits.ticket_age_max),
            number: self.tickets.fetch_add(1, Ordering::Relaxed),
        };
        Offer { schema, ticket, epoch }
    }

    /// The ticket in `sealed`, if it is ours and still good.
    pub fn ticket(&self, sealed: &[u8]) -> Result<Ticket, Error> {
        let ticket: Ticket = self.seal.open(TICKET, sealed)?;
        match self.seal.expired(ticket.expiry) {
            true => Err(Error::Expired(TICKET)),
            false => Ok(ticket),
        }
    }

    /// The prepared statement in `sealed`, if it is ours and still good.
    pub fn handle(&self, sealed: &[u8]) -> Result<Handle, Error> {
        let handle: Handle = self.seal.open(HANDLE, sealed)?;
        match self.seal.expired(handle.expiry) {
            true => Err(Error::Expired(HANDLE)),
            false => Ok(handle),
        }
    }

    /// The number of the transaction in `sealed`; drivers send none, or an empty one, for none.
    pub fn transaction(&self, sealed: Option<&Bytes>) -> Result<Option<u64>, Error> {
        match sealed {
            Some(sealed) if !sealed.is_empty() => self.seal.open(TRANSACTION, sealed).map(Some),
            _ => Ok(None),
        }
    }
}

/// The statement with its values, if there are any.
pub fn bound(statement: &Arc<Statement>, values: Option<&Bytes>) -> Result<Arc<Statement>, Error> {
    match values {
        Some(values) if !statement.parameters.fields().is_empty() => {
            Ok(Arc::new(statement.bound(&bind::read(values)?)?))
        }
        _ => Ok(statement.clone()),
    }
}

/// The Flight SQL command in `bytes`.
pub fn parsed(bytes: &[u8]) -> Result<Command, Error> {
    let wrong = || Error::NotUnderstood("the command is not a Flight SQL command: send one, or a path".into());
    Command::try_from(Any::decode(bytes).map_err(|_| wrong())?).map_err(|_| wrong())
}

/// A command's name without the address of its type.
pub fn command_name(type_url: &str) -> String {
    type_url.rsplit(['.', '/']).next().unwrap_or(type_url).to_owned()
}

/// `AS OF epoch` before a statement, and the statement without it.
fn as_of_prefix(text: &str) -> Result<(Option<Epoch>, &str), Error> {
    let mut rest = text.trim_start();
    for word in ["AS", "OF"] {
        match first_word(rest) {
            (first, after) if first.eq_ignore_ascii_case(word) => rest = after,
            _ => return Ok((None, text)),
        }
    }
    let (epoch, statement) = first_word(rest);
    let wrong = |_| Error::NotUnderstood(format!("\"{epoch}\" is not an epoch: write AS OF 42 SELECT ..."));
    Ok((Some(epoch.parse().map_err(wrong)?), statement))
}

fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}
