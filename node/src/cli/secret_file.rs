//! Files that a command writes a secret into, for their owner alone. No secret takes the place of another file unless that is said:
//! what was there is of use to somebody, and nobody else has it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use crate::durable_file::{self, Draft, Readers};
use crate::failure::{ExitCode, Failure};

/// Where a secret goes.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct SecretFileArgs {
    /// Write the token into a file that its owner alone may read, in place of printing it. The file must not be there yet.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "shown_form"])]
    to_file: Option<PathBuf>,
    /// Write over a file that is there.
    #[arg(long, requires = "to_file")]
    force: bool,
}

impl SecretFileArgs {
    /// Whether the file may be written, where one is named. Asked before the secret is made, since nobody shows it again.
    ///
    /// # Errors
    /// There is something of that name, or no folder to put it in.
    pub(super) fn may_be_written(&self) -> Result<(), Failure> {
        let Some(path) = &self.to_file else { return Ok(()) };
        if !self.force && path.symlink_metadata().is_ok() {
            return Err(is_there(path));
        }
        // What is begun here is not kept: a folder that takes no file is told of before there is a secret to lose.
        Draft::begin(path, Readers::Owner).map(drop).map_err(|error| told(path, &error))
    }

    /// Writes the secret with a line end, where a file is named; answers whether one is.
    ///
    /// # Errors
    /// The disk refuses, or there is a file of that name by now. `lost` is what to do about a secret that nobody has.
    pub(super) fn written(&self, secret: &str, lost: &str) -> Result<bool, Failure> {
        let Some(path) = &self.to_file else { return Ok(false) };
        let line = Zeroizing::new(format!("{secret}\n"));
        let written = if self.force {
            durable_file::write(path, line.as_bytes(), Readers::Owner)
        } else {
            Draft::begin(path, Readers::Owner).and_then(|mut draft| {
                draft.write_all(line.as_bytes())?;
                draft.keep_new()
            })
        };
        match written {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(is_there(path).next(lost)),
            Err(error) => Err(told(path, &error).next(lost)),
        }
    }
}

/// The refusal to write a secret over a file.
pub(super) fn is_there(path: &Path) -> Failure {
    let what = format!("{} is there already, and no secret is written over another file", path.display());
    Failure::new(ExitCode::Refused, what).next("name another file, or add --force")
}

fn told(path: &Path, error: &io::Error) -> Failure {
    Failure::new(ExitCode::Failure, format!("the token cannot be written to {}", path.display()))
        .because(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_takes_the_place_of_no_file_unless_that_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ci.token");
        let args = |force| SecretFileArgs { to_file: Some(path.clone()), force };
        assert!(!SecretFileArgs::default().written("s", "").unwrap(), "it is printed");
        args(false).may_be_written().unwrap();
        assert!(args(false).written("first", "").unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for refused in [args(false).may_be_written(), args(false).written("second", "revoke it").map(drop)] {
            assert_eq!(refused.unwrap_err().exit, ExitCode::Refused);
            assert_eq!(std::fs::read_to_string(&path).unwrap(), "first\n");
        }
        let lost = args(false).written("second", "revoke it").unwrap_err();
        assert_eq!(lost.next.as_deref(), Some("revoke it"));
        args(true).may_be_written().unwrap();
        assert!(args(true).written("third", "").unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "third\n");
        // A link that leads nowhere is something as well, and what is no file is never one.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path().join("none"), &link).unwrap();
        assert!(SecretFileArgs { to_file: Some(link), force: false }.may_be_written().is_err());
        let whole = SecretFileArgs { to_file: Some(folder.path().to_owned()), force: true };
        assert_eq!(whole.may_be_written().unwrap_err().exit, ExitCode::Failure);
        let nowhere = SecretFileArgs { to_file: Some(folder.path().join("none/ci.token")), force: false };
        assert_eq!(nowhere.may_be_written().unwrap_err().exit, ExitCode::Failure);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left");
    }
}
