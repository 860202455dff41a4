//! SIGHUP: the configuration is read again. What its owner allows a node takes effect at once; of everything else it is said
//! that it waits for the next start; and of a file that is wrong nothing is taken. The API's certificate is read again with it, and
//! so is by whose word people are let in. A node that waits to be let into its cluster reads as well, for when it is in.

use tokio::signal::unix::Signal;
use tokio_util::sync::CancellationToken;

use super::api_tls::OwnCertificate;
use super::node_info;
use super::own_addresses::Advertised;
use crate::config::{ReadFrom, reload};
use crate::data_dir::is_kept;
use crate::durable_file;
use crate::malloc;
use crate::policy::own::OwnFile;
use crate::sign_in::{Provider, SignIn, Source};

/// Reads the file again whenever it is `asked` for, until `stop`.
pub(super) async fn keep(
    mut asked: Signal,
    mut read_from: ReadFrom,
    (own, advertised): (OwnFile, Advertised),
    sign_in: SignIn,
    certificate: Option<OwnCertificate>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            received = asked.recv() => if received.is_none() { return },
        }
        // Of files that are wrong that was said, and nothing else is.
        let has_files = match certificate.clone().filter(|certificate| !certificate.is_of_cluster()) {
            Some(certificate) => tokio::task::spawn_blocking(move || certificate.read_again()).await.unwrap_or(false),
            None => false,
        };
        read_from = read_again(read_from, (&own, &advertised), &sign_in, has_files).await;
    }
}

/// Reads it once; answers what it was read from.
async fn read_again(
    read_from: ReadFrom,
    (own, advertised): (&OwnFile, &Advertised),
    sign_in: &SignIn,
    has_files: bool,
) -> ReadFrom {
    // What a node was given in its environment stays as it was; the files that it names are read all the same.
    let has_file = read_from.file().is_some();
    let before = read_from.clone();
    // Files may be on a slow disk.
    let reading = move || {
        // What was changed by others since the start is not gone by either.
        if let Some(file) = before.file() {
            is_kept(file).map_err(|error| error.to_string())?;
            // A pipe has given what it had.
            drop(durable_file::regular(file).map_err(|error| format!("{}: {error}", file.display()))?);
        }
        malloc::overwriting(|| reload(&before)).map_err(|error| error.to_string())
    };
    let read = tokio::task::spawn_blocking(reading).await;
    let taken = read.map_err(|error| error.to_string()).and_then(|read| read).and_then(|read| {
        let rules = node_info::own_rules(&read.worker)?;
        Ok((read, rules))
    });
    let taken = match taken {
        Ok((read, rules)) => {
            let (sign_in, provider) = (sign_in.clone(), read.oidc.provider());
            let names_files = has_files || matches!(&provider, Some(Provider { keys: Source::File(_), .. }));
            let took = tokio::task::spawn_blocking(move || sign_in.take(provider)).await;
            took.map_err(|error| error.to_string()).and_then(|took| took).map(|()| (read, rules, names_files))
        }
        Err(error) => Err(error),
    };
    match taken {
        Ok((_, _, names_files)) if !has_file => {
            tell_without_a_file(names_files);
            read_from
        }
        Ok((read, rules, _)) => {
            if *own.now() != rules {
                own.set(rules);
            }
            advertised.set(read.advertise);
            tell_what_took_effect(&read.now);
            if !read.later.is_empty() {
                tracing::warn!(keys = read.later.join(", "), "other values are read at the next start");
            }
            read.read_from
        }
        Err(error) => {
            tracing::error!(error, "the configuration is wrong, and nothing of it is taken");
            read_from
        }
    }
}

/// Says which keys have other values that hold from now on.
fn tell_what_took_effect(keys: &[&str]) {
    if keys.is_empty() {
        tracing::info!("the configuration was read again: nothing in it that takes effect at once has another value");
    } else {
        tracing::info!(keys = keys.join(", "), "the configuration was read again, and these take effect now");
    }
}

/// Says what was read of a node without a configuration file.
fn tell_without_a_file(names_files: bool) {
    if names_files {
        tracing::info!(
            "this node has no configuration file: keys and certificates were read again, and the rest is as it was at its start"
        );
    } else {
        tracing::warn!(
            "asked to read the configuration again, and there is none to read: this node was configured without a file; \
             start it again with other values, or with --config"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::config::{ConfigText, Sources, load};

    #[tokio::test]
    async fn a_configuration_that_others_may_change_or_exchange_is_not_taken_when_it_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pentora.yaml");
        let chmod = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        std::fs::write(&path, "worker: {exclude: [10.0.0.1]}\n").unwrap();
        let sources = Sources { file: Some(ConfigText::read(&path).unwrap()), ..Sources::default() };
        let loaded = load(&sources).unwrap();
        let own = OwnFile::new(node_info::own_rules(&loaded.config.worker).unwrap());
        let (before, advertised) = (own.now(), Advertised::new(Vec::new()));
        std::fs::write(&path, "worker: {exclude: []}\n").unwrap();
        let mut read_from = ReadFrom::of(sources, &loaded);
        for (of_folder, of_file) in [(0o700, 0o666), (0o777, 0o644)] {
            chmod(&path, of_file);
            chmod(folder.path(), of_folder);
            read_from = read_again(read_from, (&own, &advertised), &SignIn::default(), false).await;
            assert_eq!(own.now(), before, "{of_folder:o} {of_file:o}");
        }
        chmod(folder.path(), 0o700);
        read_again(read_from, (&own, &advertised), &SignIn::default(), false).await;
        assert_ne!(own.now(), before, "nobody else may change it now");
    }
}
