//! `pentora job export` and `pentora job verify`: a finished job as a file, and what it proves with no node at hand.

use std::path::PathBuf;

use clap::Args;
use pentora_p2p::PeerId;
use pentora_raft::JobId;

use super::airgap::written;
use super::api_session::{ApiSession, NodeArgs, id};
use super::context::Context;
use super::output::{clean, counted};
use super::shown::ShownArgs;
use crate::airgap::job_record::{VerifiedJob, Wanted, verify};
use crate::airgap::{BundleError, signer_of};
use crate::failure::{ExitCode, Failure};
use crate::signing::TrustedKey;

/// `pentora job export`.
#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The job's id.
    #[arg(value_name = "JOB", value_parser = id)]
    job_id: String,
    /// The file, which must not be there yet.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    node: NodeArgs,
}

/// `pentora job verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The job's id.
    #[arg(value_name = "JOB", value_parser = id)]
    job_id: String,
    /// The file that `pentora job export` wrote; without it the job is fetched from a node first.
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Who must have signed the order, as `pentora key show` prints it (repeatable) [default: anybody].
    #[arg(long, value_name = "KEY")]
    key: Vec<TrustedKey>,
    /// The node that must have written the bundle, by the key that `pentora job export` prints; a file needs it, for anybody can sign one.
    #[arg(long, value_name = "KEY")]
    written_by: Option<PeerId>,
    /// Verify the rest of a job whose order nobody signed.
    #[arg(long, conflicts_with = "key")]
    unsigned: bool,
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Writes a finished job to a file.
///
/// # Errors
/// No node answers or it refuses, or the medium does.
pub(super) async fn export(args: ExportArgs, context: &Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let pieces = session.client.job_bundle(&args.job_id).await.map_err(|error| session.failure(&error))?;
    written(pieces, &args.output, &session)?;
    let path = args.output.display();
    let failed = |error: BundleError| Failure::new(ExitCode::Failure, format!("{path}: {}", clean(&error.to_string())));
    let key = signer_of(&args.output).map_err(failed)?;
    let job = clean(&args.job_id);
    context.say(format_args!("verify it anywhere with\n  pentora job verify {job} --bundle {path} --written-by {key}"));
    Ok(())
}

/// Verifies a finished job.
///
/// # Errors
/// The bundle does not hold, with the first reason.
pub(super) async fn check(args: VerifyArgs, context: &mut Context) -> Result<(), Failure> {
    let job = args.job_id.parse::<JobId>().map_err(|error| Failure::new(ExitCode::Usage, error.to_string()))?;
    let wanted = Wanted {
        job: Some(job),
        signers: args.key.iter().map(|trusted| trusted.key).collect(),
        node: args.written_by,
        // What a node of the cluster hands over itself is its word by that.
        any_node: args.bundle.is_none(),
        unsigned: args.unsigned,
    };
    let held = |path: PathBuf| {
        let wanted = wanted.clone();
        async move {
            let verifying = tokio::task::spawn_blocking(move || verify(&path, &wanted)).await;
            verifying.unwrap_or_else(|error| Err(BundleError::Contents(error.to_string())))
        }
    };
    let verified = match &args.bundle {
        Some(bundle) => held(bundle.clone()).await,
        None => {
            let folder = tempfile_folder()?;
            let path = folder.join("job.tar.gz");
            let session = ApiSession::open(&args.node, context)?;
            let fetched = session.client.job_bundle(&args.job_id).await.map_err(|error| session.failure(&error));
            let fetched = fetched.and_then(|pieces| written(pieces, &path, &session));
            let verified = match fetched {
                Ok(()) => Ok(held(path).await),
                Err(failure) => Err(failure),
            };
            // What stays is in the system's own folder for such files.
            drop(std::fs::remove_dir_all(&folder));
            verified?
        }
    };
    let verified = verified.map_err(|error| {
        let failure = Failure::new(ExitCode::Failure, format!("{job} does not hold: {}", clean(&error.to_string())));
        if matches!(error, BundleError::UnknownSigner { .. }) {
            failure.next("name the node that wrote it with --written-by KEY, as `pentora job export` printed it")
        } else if error.is_of_bundle() {
            failure.next("export it again from a node that you trust, and compare")
        } else {
            failure
        }
    })?;
    context.output.print(&args.form.text(&verified, || told(&verified)))?;
    if verified.signed_by.is_some() && args.key.is_empty() {
        context.say("whether that is who you think: compare with `pentora key show`, or name the key with --key");
    }
    Ok(())
}

/// A folder of its own for this process alone.
fn tempfile_folder() -> Result<PathBuf, Failure> {
    use std::os::unix::fs::DirBuilderExt;
    let folder = std::env::temp_dir().join(format!("pentora-{:016x}", rand::random::<u64>()));
    let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
    made.map_err(|error| Failure::new(ExitCode::Failure, format!("{}: {error}", folder.display())))?;
    Ok(folder)
}

fn told(job: &VerifiedJob) -> String {
    let order = match (&job.signed_by, &job.signed_at, &job.expires_at) {
        (Some(key), Some(at), Some(until)) => {
            format!("signed by {} at {}, held until {}", clean(key), clean(at), clean(until))
        }
        _ => "signed by nobody".to_owned(),
    };
    format!(
        "{} holds: {} ({})\nOrder: {order}\nAsked by: {}\nAudit: {}, each bound to the one before\nResults: {} of {}, each \
         unchanged and of its unit\nBundle: written by node {} of cluster {}\n",
        clean(&job.job_id),
        clean(&job.title),
        clean(&job.status),
        clean(&job.asked_by),
        match job.audit_entries {
            1 => "1 entry".to_owned(),
            entries => format!("{entries} entries"),
        },
        counted(job.chunks as u64, "chunk"),
        counted(job.targets, "target"),
        clean(&job.bundle_signed_by),
        clean(&job.cluster),
    )
}
