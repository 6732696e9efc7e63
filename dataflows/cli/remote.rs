//! Asks a running server over Arrow Flight.

use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{CommandStatementQuery, ProstMessageExt};
use arrow_flight::{FlightClient, FlightDescriptor, FlightInfo};
use prost::Message;
use tonic::Code;
use tonic::transport::Endpoint;
use trueup_model::fact::Epoch;
use trueup_sinks::flight::headers::MIN_EPOCH;

use super::failure::Failure;
use crate::config::Config;

/// Where a server listens unless told otherwise.
pub const ADDRESS: &str = "127.0.0.1:8815";
/// The configuration that is asked where its server listens, if it is there.
const CONFIG: &str = "trueup.toml";

/// Which server, and as whom: by default that of `trueup.toml`.
#[derive(Clone, Debug, clap::Args)]
pub struct Connection {
    /// Where the server listens; else as `trueup.toml` says, or 127.0.0.1:8815
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
    /// The configuration of the server
    #[arg(long, value_name = "FILE", conflicts_with = "address")]
    pub config: Option<PathBuf>,
    /// What the server wants callers to know; else as its configuration says
    #[arg(long, env = "TRUEUP_TOKEN", hide_env_values = true, value_name = "TEXT")]
    pub token: Option<String>,
}

impl Connection {
    /// To the server of a configuration.
    pub fn to(config: &Config) -> Connection {
        Connection { address: Some(config.address.to_string()), config: None, token: config.token.clone() }
    }

    /// The same, with its address.
    fn addressed(&self) -> Result<(String, Option<String>), Failure> {
        if let Some(address) = &self.address {
            // As a server tells it, it has a scheme.
            let address = address.strip_prefix("grpc://").unwrap_or(address);
            return Ok((address.to_owned(), self.token.clone()));
        }
        let near = Path::new(CONFIG);
        let Some(path) = self.config.as_deref().or_else(|| near.exists().then_some(near)) else {
            return Ok((ADDRESS.to_owned(), self.token.clone()));
        };
        let config = Config::read(path).map_err(Failure::Input)?;
        Ok((config.address.to_string(), self.token.clone().or(config.token)))
    }
}

/// A server that answers.
pub struct Remote {
    client: FlightClient,
    address: String,
}

/// Rows as they come, with their columns.
pub struct Answer {
    /// The columns.
    pub schema: SchemaRef,
    /// The rows.
    pub rows: FlightRecordBatchStream,
}

impl Remote {
    /// Connects.
    pub async fn connect(connection: &Connection) -> Result<Remote, Failure> {
        let (address, token) = connection.addressed()?;
        let wrong = |_| Failure::Input(format!("`{address}` is no address: write it like {ADDRESS}"));
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(wrong)?;
        let channel = endpoint.connect().await.map_err(|_| {
            Failure::Engine(format!(
                "nothing answers at {address}: start a server with `trueup serve` or `trueup demo`, or give its --address"
            ))
        })?;
        let mut client = FlightClient::new(channel);
        if let Some(token) = token {
            let header = client.add_header("authorization", &format!("Bearer {token}"));
            header.map_err(|_| Failure::Input("the token has characters that no header can carry".to_owned()))?;
        }
        Ok(Remote { client, address })
    }

    /// Asks for nothing older than this epoch from now on; the server waits until it has that.
    pub fn at_least(&mut self, epoch: Epoch) -> Result<(), Failure> {
        let [name, ..] = MIN_EPOCH;
        let header = self.client.add_header(name, &epoch.to_string());
        header.map_err(|error| Failure::engine(&error))
    }

    /// Runs a statement.
    pub async fn query(&mut self, sql: &str) -> Result<Answer, Failure> {
        let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
        self.fetch(FlightDescriptor::new_cmd(command.as_any().encode_to_vec())).await
    }

    /// Reads what a path names.
    pub async fn path(&mut self, path: &[&str]) -> Result<Answer, Failure> {
        self.fetch(FlightDescriptor::new_path(path.iter().map(|part| (*part).to_owned()).collect())).await
    }

    async fn fetch(&mut self, descriptor: FlightDescriptor) -> Result<Answer, Failure> {
        let info = self.client.get_flight_info(descriptor).await;
        let info: FlightInfo = info.map_err(|error| self.failure(error))?;
        let ticket = info.endpoint.first().and_then(|endpoint| endpoint.ticket.clone());
        let schema = info.try_decode_schema().map_err(|error| Failure::engine(&error))?;
        let ticket = ticket.ok_or_else(|| Failure::Engine("the server gave no ticket for the rows".to_owned()))?;
        let rows = self.client.do_get(ticket).await.map_err(|error| self.failure(error))?;
        Ok(Answer { schema: schema.into(), rows })
    }

    /// What an error on the way means to whoever asked.
    pub fn failure(&self, error: FlightError) -> Failure {
        let FlightError::Tonic(status) = &error else { return Failure::engine(&error) };
        let said = status.message().to_owned();
        match status.code() {
            Code::Unavailable | Code::Internal | Code::Unknown | Code::Aborted => {
                Failure::Engine(format!("the server at {}: {said}", self.address))
            }
            Code::Unauthenticated => Failure::Input(format!("{said}: give its --token, or set TRUEUP_TOKEN")),
            _ => Failure::Input(said),
        }
    }
}

/// Runs what waits for a server or a signal.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::engine(&error))?.block_on(work)
}
