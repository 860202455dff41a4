//! What a bundle says of itself: JSON, so that people on both sides can read it with what they have.
//!
//! Two kinds. *Orders* go from a cluster to its workers without a network: all that is to be done now, the policy that holds,
//! who may give orders from now on, and which results have arrived; each is whole, so that only the newest matters. *Results* go back, each unit
//! once, in bundles that are numbered.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::Range;
use std::str::FromStr;

use pentora_p2p::PeerId;
use pentora_raft::command::{Author, NewRule, UnitRange};
use pentora_raft::state::{BUNDLE_NUMBER_MAX, Counts, JobLimits, NUMBERING_MAX, Partition, Priority, Remarks};
use pentora_raft::{Digest, JobId};
use pentora_scanner::finding::plain_text;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::document::AuditDocument;

/// The one version of manifests that there is.
const VERSION: u32 = 1;

/// A bundle's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    version: u32,
    /// The cluster that gave the orders, by its id; nothing where a worker had none.
    pub cluster: String,
    /// When it was made, by the clock of whoever made it; for people.
    pub made_at: String,
    /// What is in the archive behind it, in this order.
    pub contents: Vec<Content>,
    /// What it is about.
    pub body: Body,
}

/// Something in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Its name.
    #[serde(with = "text")]
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
}

/// What a bundle is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// From a cluster to its workers without a network.
    Orders(Orders),
    /// From such a worker to its cluster.
    Results(Results),
    /// From a cluster to whoever wants to hold a finished job against who asked for it.
    Job(Box<JobRecord>),
}

/// Everything of a finished job by which it can be verified without a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobRecord {
    /// The job.
    #[serde(with = "text")]
    pub job: JobId,
    /// One line for lists.
    pub title: String,
    /// How it ended.
    pub status: String,
    /// Who asked for it.
    pub author: Author,
    /// When it was accepted, unix milliseconds of the log's clock.
    pub submitted_at_ms: u64,
    /// How much work.
    pub partitions: Vec<Partition>,
    /// What was scanned, with the order that somebody signed: a content.
    #[serde(with = "text")]
    pub spec: Digest,
    /// Targets that are counted.
    pub done: u64,
    /// What they count.
    pub counts: Counts,
    /// What was counted, each unit once, in order.
    pub units: Vec<CountedUnit>,
    /// What the audit log has of it.
    pub audit: Vec<AuditLink>,
}

/// A unit that was counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CountedUnit {
    /// Which part.
    pub unit: UnitRange,
    /// The log index of its lease.
    pub epoch: u64,
    /// What it counts.
    pub counts: Counts,
    /// Its hosts: a content.
    pub chunk: Content,
}

/// An entry of the audit log, with what binds it to the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditLink {
    /// The digest of the entry before, and of all before that.
    #[serde(with = "text")]
    pub before: Digest,
    /// The entry.
    pub entry: AuditDocument,
}

/// All that a cluster wants of its workers without a network, as it was at one index of its log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Orders {
    /// That index. A bundle with a lower one is older.
    pub revision: u64,
    /// The keys of the cluster's members: who may sign orders from now on.
    pub members: Vec<PeerId>,
    /// What is to be done; an order that is not here any more has ended.
    pub orders: Vec<Order>,
    /// The rules of the cluster's policy that hold; none in bundles of releases that carried none.
    #[serde(default)]
    pub rules: Vec<NewRule>,
    /// The feeds in use; `None` where they were left out, and those before stay.
    pub feeds: Option<Vec<Feed>>,
    /// Which bundles of which worker have arrived.
    pub arrived: Vec<Arrived>,
    /// The cluster's key, to which results can be encrypted, as text: a later release may name one of a kind that this one does
    /// not know. `None` in bundles of releases that had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient: Option<String>,
    /// The clusters that this one began as, restored from their backups: their workers go on with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<String>,
}

/// A job whose work is carried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The job.
    #[serde(with = "text")]
    pub job: JobId,
    /// One line for lists.
    pub title: String,
    /// Who asked for it; nobody that is known in bundles of releases that did not say.
    #[serde(default)]
    pub author: Author,
    /// Before which others it is done.
    pub priority: Priority,
    /// How much work, and what its worker must be.
    pub partitions: Vec<Partition>,
    /// How much it may take.
    pub limits: JobLimits,
    /// What to scan: a content.
    #[serde(with = "text")]
    pub spec: Digest,
    /// What of it is counted already.
    pub counted: Vec<UnitRange>,
}

/// A feed of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feed {
    /// Which kind.
    pub kind: String,
    /// Its bundle: a content.
    #[serde(with = "text")]
    pub digest: Digest,
}

/// Which bundles of a worker have arrived.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// The worker's key.
    pub worker: PeerId,
    /// Their numbers.
    pub bundles: Vec<Range<u64>>,
    /// Those of numberings that have a name, by it: a worker that lost its results counts from 1 again, under another name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub numbered: BTreeMap<u64, Vec<Range<u64>>>,
}

impl Arrived {
    /// The numbers of one numbering; 0 is the one without a name.
    #[must_use]
    pub fn of(&self, numbering: u64) -> &[Range<u64>] {
        if numbering == 0 {
            &self.bundles
        } else {
            self.numbered.get(&numbering).map(Vec::as_slice).unwrap_or_default()
        }
    }
}

/// What a worker without a network has found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// What the worker is called.
    pub name: String,
    /// The name of the numbering that its numbers are of; 0, which is not written, for that of releases that named none.
    #[serde(default, skip_serializing_if = "is_unnamed")]
    pub numbering: u64,
    /// The number of the first bundle whose results are in it.
    pub first: u64,
    /// The number of the last, its own; below `first` where nothing is new.
    pub last: u64,
    /// What was scanned.
    pub units: Vec<Unit>,
}

/// Serde hands over a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "that is how serde calls it")]
const fn is_unnamed(numbering: &u64) -> bool {
    *numbering == 0
}

/// A finished unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    /// Of which job.
    #[serde(with = "text")]
    pub job: JobId,
    /// By which order: its spec.
    #[serde(with = "text")]
    pub spec: Digest,
    /// Which part.
    pub unit: UnitRange,
    /// What it counts.
    pub counts: Counts,
    /// What else there is to say of it.
    pub remarks: Remarks,
    /// Its hosts: a content.
    pub chunk: Content,
}

/// A manifest that is none of this release's.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Of another version.
    #[error("its manifest is of version {version}, and this release reads version 1: update the older side")]
    Version {
        /// Which.
        version: u64,
    },
    /// It does not read.
    #[error("its manifest cannot be read: {}", plain_text(&.0.to_string()))]
    Json(#[from] serde_json::Error),
    /// It names what is not there, or lists what nothing names.
    #[error("its manifest contradicts itself: {0}")]
    Contradiction(&'static str),
}

impl Manifest {
    /// A manifest of this version.
    #[must_use]
    pub fn new(cluster: String, made_at: String, contents: Vec<Content>, body: Body) -> Self {
        Self { version: VERSION, cluster, made_at, contents, body }
    }

    /// Its bytes.
    ///
    /// # Panics
    /// Never: what is written is plain data.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("numbers, texts and lists are JSON")
    }

    /// Reads a manifest, and holds it against itself.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Head {
            version: u64,
        }
        let Head { version } = serde_json::from_slice(bytes)?;
        if version != u64::from(VERSION) {
            return Err(ManifestError::Version { version });
        }
        let manifest: Self = serde_json::from_slice(bytes)?;
        manifest.agree().map_err(ManifestError::Contradiction)?;
        Ok(manifest)
    }

    /// What it names is in its contents, each content is named, and none is there twice.
    fn agree(&self) -> Result<(), &'static str> {
        let listed: BTreeSet<Digest> = self.contents.iter().map(|content| content.digest).collect();
        if listed.len() != self.contents.len() {
            return Err("a content is listed twice");
        }
        let named: BTreeSet<Digest> = match &self.body {
            Body::Orders(orders) => {
                let feeds = orders.feeds.iter().flatten().map(|feed| feed.digest);
                orders.orders.iter().map(|order| order.spec).chain(feeds).collect()
            }
            Body::Results(results) => results.units.iter().map(|unit| unit.chunk.digest).collect(),
            Body::Job(job) => job.units.iter().map(|unit| unit.chunk.digest).chain([job.spec]).collect(),
        };
        if named != listed {
            return Err("the contents are not those that it speaks of");
        }
        match &self.body {
            Body::Job(job) => {
                let has_sizes = job.units.iter().all(|unit| self.contents.contains(&unit.chunk));
                let fits = job.units.len() <= COUNTED_UNITS_MAX && job.audit.len() <= AUDIT_LINKS_MAX;
                if has_sizes && fits {
                    Ok(())
                } else {
                    Err("it holds too much, or the sizes are not those of the contents")
                }
            }
            Body::Orders(orders) => {
                let jobs: BTreeSet<JobId> = orders.orders.iter().map(|order| order.job).collect();
                if jobs.len() == orders.orders.len() { Ok(()) } else { Err("an order is there twice") }
            }
            Body::Results(results) => {
                let numbered = results.first >= 1 && results.last >= results.first - 1;
                let holds_none = results.last < results.first;
                let sizes = |unit: &Unit| self.contents.contains(&unit.chunk);
                match () {
                    () if !numbered || (holds_none && !results.units.is_empty()) => Err("its numbers make no sense"),
                    () if results.first > BUNDLE_NUMBER_MAX || results.last > BUNDLE_NUMBER_MAX => {
                        Err("its numbers are higher than any can be")
                    }
                    () if results.numbering > NUMBERING_MAX => Err("its numbering has no name that can be"),
                    () if results.units.len() <= UNITS_PER_BUNDLE_MAX && results.units.iter().all(sizes) => Ok(()),
                    () => Err("it holds too many units, or their sizes are not those of the contents"),
                }
            }
        }
    }
}

/// How many units a bundle of results holds at most; what is more goes into the next. Ours: keeps a manifest at a few MB.
pub const UNITS_PER_BUNDLE_MAX: usize = 20_000;

/// How many units the record of a job holds at most. Ours: keeps a manifest at some tens of MB.
pub const COUNTED_UNITS_MAX: usize = 50_000;
/// How many entries of the audit log. Ours: more than anybody does with one job.
pub const AUDIT_LINKS_MAX: usize = 1_000;

/// Values by the text that people see elsewhere.
mod text {
    use super::{Deserialize, Deserializer, Display, FromStr, Serializer, de};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn unit(job: u64, start: u64, end: u64, chunk: &[u8]) -> Unit {
        Unit {
            job: JobId(job),
            spec: Digest::of(b"spec"),
            unit: UnitRange { partition: 0, start, end },
            counts: Counts { hosts_up: 1, ..Counts::default() },
            remarks: Remarks { not_probed: [(2, 3)].into(), notes: ["note".into()].into() },
            chunk: Content { digest: Digest::of(chunk), bytes: chunk.len() as u64 },
        }
    }

    fn results(first: u64, last: u64, units: Vec<Unit>) -> Manifest {
        let contents = units.iter().map(|unit| unit.chunk).collect();
        let results = Results { name: "plant-7".into(), numbering: 0, first, last, units };
        Manifest::new("c".into(), "2025-07-10T12:00:00Z".into(), contents, Body::Results(results))
    }

    #[test]
    fn a_manifest_reads_back_and_names_things_as_people_see_them() {
        let manifest = results(2, 3, vec![unit(42, 0, 5, b"a"), unit(42, 5, 9, b"b")]);
        let bytes = manifest.to_bytes();
        assert_eq!(Manifest::parse(&bytes).unwrap(), manifest);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("\"job-00002a\"") && text.contains(&Digest::of(b"a").to_string()), "{text}");
    }

    #[test]
    fn what_a_manifest_says_in_place_of_a_word_is_quoted_as_plain_text() {
        let text = r#"{"version":1,"cluster":"","made_at":"","contents":[],"body":{"a\nb\u001b[2J":{}}}"#;
        let error = Manifest::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("unknown variant `a b\u{fffd}[2J`"), "{error}");
    }

    #[test]
    fn a_manifest_that_contradicts_itself_or_is_of_another_version_is_refused() {
        let good = results(1, 1, vec![unit(1, 0, 5, b"a")]);
        let other = Manifest { version: 2, ..good.clone() };
        assert!(matches!(Manifest::parse(&other.to_bytes()), Err(ManifestError::Version { version: 2 })));
        let bare = Manifest { contents: Vec::new(), ..good.clone() };
        let twice = Manifest { contents: vec![good.contents[0]; 2], ..good.clone() };
        let longer = Manifest { contents: vec![Content { bytes: 9, ..good.contents[0] }], ..good.clone() };
        let numbers = [
            (0, 1),
            (3, 1),
            (2, 1),
            (1, u64::MAX),
            (1, u64::MAX - 1),
            (1, BUNDLE_NUMBER_MAX + 1),
            (u64::MAX, u64::MAX - 1),
        ];
        let numbers = numbers.map(|(first, last)| results(first, last, vec![unit(1, 0, 5, b"a")]));
        for bad in [bare, twice, longer].into_iter().chain(numbers) {
            assert!(matches!(Manifest::parse(&bad.to_bytes()), Err(ManifestError::Contradiction(_))), "{bad:?}");
        }
        assert!(Manifest::parse(&results(4, 3, Vec::new()).to_bytes()).is_ok(), "nothing new");
        for bytes in [&b""[..], b"{}", b"[1]", b"{\"version\":1}", b"\xff", b"{\"version\":-1}"] {
            assert!(Manifest::parse(bytes).is_err());
        }
    }
}
