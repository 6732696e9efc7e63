//! How a command can end other than well, and the exit code that says so to programs.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use trueup::engine::door::DoorError;
use trueup::engine::issue::IssueError;
use trueup::engine::publication::Stopped;
use trueup_connectors::fault::with_causes;
use trueup_connectors::shelf::ShelfError;

/// How a command ends.
pub type Outcome = Result<(), Failure>;

/// Why a command did not do what was asked, in a sentence with the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It did, and the answer is no: exit code 1.
    No(String),
    /// What it was given cannot be used: exit code 2.
    Input(String),
    /// Not now, and whatever is asked again may be done then: exit code 3.
    Later(String),
    /// The engine, a server or the machine failed: exit code 3.
    Engine(String),
}

impl Failure {
    /// An input that cannot be used, with its causes.
    pub fn input(error: &dyn Error) -> Failure {
        Failure::Input(with_causes(error))
    }

    /// A failure of ours or of the machine, with its causes.
    pub fn engine(error: &dyn Error) -> Failure {
        Failure::Engine(with_causes(error))
    }

    /// What the process ends with.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::No(_) => 1,
            Failure::Input(_) => 2,
            Failure::Later(_) | Failure::Engine(_) => 3,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::No(sentence) | Failure::Input(sentence) | Failure::Later(sentence) | Failure::Engine(sentence) => {
                f.write_str(sentence)
            }
        }
    }
}

impl From<DoorError> for Failure {
    fn from(error: DoorError) -> Failure {
        match error {
            DoorError::Catalog { .. }
            | DoorError::StaleLayouts
            | DoorError::Document { .. }
            | DoorError::Backfill { .. }
            | DoorError::ClockTooFar { .. }
            | DoorError::WallClock => Failure::input(&error),
            DoorError::Journal(ref journal) if !journal.is_final() => Failure::Later(with_causes(&error)),
            DoorError::Clock(_)
            | DoorError::QuarantineFull { .. }
            | DoorError::Contradicting { .. }
            | DoorError::DeclaredFull { .. } => Failure::Later(with_causes(&error)),
            DoorError::Journal(_) | DoorError::Stopped(_) => Failure::engine(&error),
        }
    }
}

impl From<IssueError> for Failure {
    fn from(error: IssueError) -> Failure {
        match error {
            IssueError::Door(error) => error.into(),
            IssueError::Stopped(stopped) => stopped.into(),
            IssueError::NoPeriod { .. } | IssueError::Nothing { .. } | IssueError::TooLarge { .. } => {
                Failure::input(&error)
            }
        }
    }
}

impl From<ShelfError> for Failure {
    fn from(error: ShelfError) -> Failure {
        match error {
            ShelfError::Disk { .. } => Failure::Later(with_causes(&error)),
            ShelfError::Name(_)
            | ShelfError::Taken(_)
            | ShelfError::Locked(_)
            | ShelfError::Absent { .. }
            | ShelfError::Changed { .. }
            | ShelfError::Unreadable { .. } => Failure::input(&error),
        }
    }
}

impl From<Stopped> for Failure {
    fn from(stopped: Stopped) -> Failure {
        Failure::engine(&stopped)
    }
}

impl From<trueup_sinks::Error> for Failure {
    fn from(error: trueup_sinks::Error) -> Failure {
        use trueup_sinks::Error as E;
        match error {
            E::Stopped | E::Cancelled | E::Arrow(_) => Failure::engine(&error),
            _ => Failure::input(&error),
        }
    }
}
