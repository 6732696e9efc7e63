//! How many files the process may have open at once, and how many of them connections may take.
//!
//! Law: whoever connects leaves enough for the journal, checkpoints and sources.

use std::io;

/// Raises the limit as far as the system lets a process, and gives it.
pub fn raise() -> io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}

/// How many connections a way in may hold: no more than `connections_max`, and no more than a third of the limit
/// for each of the two.
pub fn for_connections(connections_max: usize) -> usize {
    let limit = match raise() {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "how many files may be open at once is not known");
            return connections_max;
        }
    };
    let share = share(limit, connections_max);
    if share < connections_max {
        let remedy = "raise the limit on open files (`ulimit -n`)";
        tracing::warn!(limit, connections = share, remedy, "fewer can be connected at once, so that files can be open");
    }
    share
}

fn share(limit: u64, connections_max: usize) -> usize {
    usize::try_from(limit / 3).map_or(connections_max, |share| share.clamp(1, connections_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_in_leave_a_third_to_the_rest() {
        for limit in [16, 256, 1024, 1535] {
            assert!(2 * share(limit, 512) as u64 <= limit - limit / 3, "{limit}");
        }
        assert_eq!([1536, 1 << 20, u64::MAX].map(|limit| share(limit, 512)), [512; 3]);
        assert_eq!(share(2, 512), 1, "somebody is always let in");
    }
}
