//! SIGHUP: the configuration is read again. What its owner allows a node takes effect at once; of everything else it is said
//! that it waits for the next start; and of a file that is wrong nothing is taken. The API's certificate is read again with it, and
//! so is by whose word people are let in.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::api_tls::OwnCertificate;
use super::node_info;
use crate::config::{Sources, reload};
use crate::failure::{ExitCode, Failure};
use crate::policy::own::OwnFile;
use crate::sign_in::SignIn;

/// Makes SIGHUP stop nothing from here on, and answers what reads the file again at each until `stop`.
///
/// # Errors
/// Signals cannot be received.
pub(super) fn keep(
    sources: Sources,
    own: OwnFile,
    sign_in: SignIn,
    certificate: Option<OwnCertificate>,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + Send, Failure> {
    let mut asked = signal(SignalKind::hangup())
        .map_err(|error| Failure::new(ExitCode::Failure, "signals cannot be received").because(error.to_string()))?;
    Ok(async move {
        let mut sources = sources;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                received = asked.recv() => if received.is_none() { return },
            }
            if let Some(certificate) = certificate.clone() {
                drop(tokio::task::spawn_blocking(move || certificate.read_again()).await);
            }
            let has_files = certificate.as_ref().is_some_and(|certificate| !certificate.is_of_cluster());
            sources = read_again(sources, &own, &sign_in, has_files).await;
        }
    })
}

/// Reads it once; answers what it was read from.
async fn read_again(sources: Sources, own: &OwnFile, sign_in: &SignIn, has_files: bool) -> Sources {
    if sources.file.is_none() {
        if has_files {
            return sources;
        }
        tracing::warn!("asked to read the configuration again, and there is no file: start the node with --config");
        return sources;
    }
    let before = sources.clone();
    // Files may be on a slow disk.
    let read = tokio::task::spawn_blocking(move || reload(&before).map_err(|error| error.to_string())).await;
    let taken = read.map_err(|error| error.to_string()).and_then(|read| read).and_then(|read| {
        let rules = node_info::own_rules(&read.worker)?;
        Ok((read, rules))
    });
    let taken = match taken {
        Ok((read, rules)) => {
            let (sign_in, provider) = (sign_in.clone(), read.oidc.provider());
            let took = tokio::task::spawn_blocking(move || sign_in.take(provider)).await;
            took.map_err(|error| error.to_string()).and_then(|took| took).map(|()| (read, rules))
        }
        Err(error) => Err(error),
    };
    match taken {
        Ok((read, rules)) => {
            if *own.now() != rules {
                own.set(rules);
            }
            tracing::info!(now = read.now.join(", "), "the configuration was read again");
            if !read.later.is_empty() {
                tracing::warn!(keys = read.later.join(", "), "other values are read at the next start");
            }
            read.sources
        }
        Err(error) => {
            tracing::error!(error, "the configuration is wrong, and nothing of it is taken");
            sources
        }
    }
}
