//! How much one reader may ask for, and for how long things are kept for a reader.
//!
//! Every bound is a number here and nowhere else. The defaults suit a shared machine; each may
//! be changed before the server starts.

use std::time::Duration;

/// The bounds of connections, statements, tickets and streams.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How many may be connected at once. Each costs a file descriptor. When as many are, those that are
    /// idle the longest are asked to leave.
    pub connections_max: usize,
    /// How long a connection without calls is kept.
    pub connection_idle_max: Duration,
    /// How long a connection on which nothing of an answer goes, though a call is under way, keeps its
    /// place from others that wait for it.
    pub connection_stall_max: Duration,
    /// The same where not all has come of what is asked.
    pub connection_ask_max: Duration,
    /// How long a connection is left alone after it came, and after each call.
    pub connection_peace: Duration,
    /// The most memory for messages of callers that have not come whole; others wait until they have.
    pub asked_bytes_max: usize,
    /// How long such a message may take.
    pub asked_for_max: Duration,
    /// The longest SQL text.
    pub sql_bytes_max: usize,
    /// The most words and signs of a SQL text, not counting commas and literals.
    pub sql_words_max: usize,
    /// The most nodes of a plan.
    pub plan_nodes_max: usize,
    /// The deepest that a plan, or an expression in it, may nest; a chain of OR nests with each OR.
    pub depth_max: usize,
    /// The most rows of a SQL result. Whole views of any size are read by path.
    pub rows_max: usize,
    /// The most memory that one statement's sorts, joins and groups may hold.
    pub memory_bytes_max: usize,
    /// The longest that one statement may compute; the time its reader takes does not count.
    pub busy_max: Duration,
    /// How many statements may run at once.
    pub statements_max: usize,
    /// How many views may be read by path, or for the snapshot of a subscription, at once; each holds a thread while it
    /// is read.
    pub scans_max: usize,
    /// How many streams of events may be put at once.
    pub puts_max: usize,
    /// How long a request waits for an epoch that is not published yet, or for its turn to run.
    pub wait_max: Duration,
    /// How long a ticket or prepared statement is good for.
    pub ticket_age_max: Duration,
    /// How long a transaction is kept after its last use.
    pub transaction_idle_max: Duration,
    /// How many transactions may be open at once.
    pub transactions_max: usize,
    /// How many moments are kept so that a ticket finds the one it names.
    pub moments_max: usize,
    /// How long such a moment is kept.
    pub moment_age_max: Duration,
    /// The longest silence in a stream of changes.
    pub heartbeat: Duration,
    /// The shortest time between two progress marks of a stream whose rows did not change.
    pub mark_pause: Duration,
    /// The shortest time between two runs of a followed query.
    pub rerun_pause: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 512,
            connection_idle_max: Duration::from_secs(600),
            connection_stall_max: Duration::from_secs(60),
            connection_ask_max: Duration::from_secs(1),
            connection_peace: Duration::from_millis(250),
            asked_bytes_max: 1 << 30,
            asked_for_max: Duration::from_secs(120),
            sql_bytes_max: 64 << 10,
            sql_words_max: 4000,
            plan_nodes_max: 10_000,
            depth_max: 200,
            rows_max: 1_000_000,
            memory_bytes_max: 256 << 20,
            busy_max: Duration::from_secs(30),
            statements_max: 32,
            scans_max: 64,
            puts_max: 64,
            wait_max: Duration::from_secs(10),
            ticket_age_max: Duration::from_secs(3600),
            transaction_idle_max: Duration::from_secs(600),
            transactions_max: 1024,
            moments_max: 64,
            moment_age_max: Duration::from_secs(30),
            heartbeat: Duration::from_secs(5),
            mark_pause: Duration::from_millis(250),
            rerun_pause: Duration::from_millis(50),
        }
    }
}
