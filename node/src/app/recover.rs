//! The way back from a lost majority, on a node that is stopped: what it would keep, and making it the only voter.

use std::fmt::Write;
use std::path::Path;

use pentora_raft::recovery::{self, RecoveryError, Survey};
use pentora_raft::{NodeId, RecoveryId};

use crate::data_dir::{DataDir, NodeIdentity};
use crate::failure::{ExitCode, Failure};

/// A stopped node, its data directory in this process's hands.
#[derive(Debug)]
pub struct Stopped {
    data_dir: DataDir,
    identity: NodeIdentity,
    survey: Survey,
}

impl From<RecoveryError> for Failure {
    fn from(error: RecoveryError) -> Self {
        Self::new(ExitCode::Failure, "nothing was changed").because(error.to_string())
    }
}

impl Stopped {
    /// Looks at the node that lives in `path`. Nothing is changed.
    ///
    /// # Errors
    /// No node lives there, it runs, or its store cannot be read.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let nobody = || {
            Failure::new(ExitCode::Failure, format!("there is no node in {}", path.display()))
                .next("name the data directory of a node of the cluster: --data-dir DIR")
        };
        if !path.join("node.id").exists() {
            return Err(nobody());
        }
        let data_dir = DataDir::open(path)
            .map_err(|error| Failure::new(ExitCode::Failure, error.to_string()).next("stop the node first"))?;
        let identity = data_dir.identity()?.ok_or_else(nobody)?;
        let survey = recovery::survey(&data_dir.store_dir())?;
        if survey.voters.is_empty() {
            return Err(Failure::new(
                ExitCode::Failure,
                format!("{} has no log of its cluster to go on from", identity.name),
            )
            .because("it only scans, or never got the log")
            .next("name the data directory of a member: --data-dir DIR"));
        }
        Ok(Self { data_dir, identity, survey })
    }

    /// What it would keep, and what it would take out, in lines.
    #[must_use]
    pub fn told(&self) -> String {
        let Self { identity, survey, .. } = self;
        let state = &survey.state;
        let name = |id: NodeId| state.node(id).map_or_else(|| format!("node {id}"), |record| record.info.name.clone());
        let voters: Vec<String> = survey.voters.iter().map(|id| name(*id)).collect();
        let others: Vec<String> = state.nodes().map(|(id, _)| id).filter(|id| *id != identity.node).map(name).collect();
        let behind = survey.last_index.saturating_sub(survey.committed_index);
        let open = state.jobs().filter(|(_, job)| job.is_open()).count();
        let (chunks, own) = state.chunks().fold((0u64, 0u64), |(all, own), (_, chunk)| {
            (all + 1, own + u64::from(chunk.stored.holders.contains(&identity.node)))
        });
        let counted = |number: u64, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
        let mut text = format!("node {} (id {}) of cluster {}\n", identity.name, identity.node, identity.cluster);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "its log names these voters: {}", voters.join(", "));
        let _ = writeln!(
            text,
            "it would keep: its log up to entry {} in term {} ({} at the end may never have been acknowledged), {} ({open} \
             not ended), {}, {}, {own} of them on its own disk",
            survey.last_index,
            survey.term,
            if behind == 1 { "1 entry".to_owned() } else { format!("{behind} entries") },
            counted(state.jobs().count() as u64, "job"),
            counted(state.feeds().count() as u64, "feed"),
            counted(chunks, "result"),
        );
        let _ = match others.is_empty() {
            true => writeln!(text, "there are no other nodes"),
            false => {
                writeln!(text, "it would take out: {}; they join anew with empty data directories", others.join(", "))
            }
        };
        if !others.is_empty() {
            text.push_str(
                "only one node may do this: another survivor that does it as well makes a second cluster of the same name, and \
                 neither knows what the other decides\n",
            );
        }
        text
    }

    /// Makes it the only voter.
    ///
    /// # Errors
    /// Its store refuses.
    pub fn stand_alone(self) -> Result<(), Failure> {
        let Self { data_dir, identity, .. } = self;
        recovery::stand_alone(&data_dir.store_dir(), identity.node, RecoveryId(rand::random()))?;
        // Whom it knew when it joined is out of the cluster.
        data_dir.save_identity(&NodeIdentity { members: Vec::new(), ..identity })?;
        Ok(())
    }
}
