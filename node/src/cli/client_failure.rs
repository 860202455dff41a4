//! What an answer of the API means for a command: its exit code, and the way on.

use super::output::clean;
use crate::client::ClientError;
use crate::failure::{ExitCode, Failure};

/// What an answer of the API means for a command, with the way on. `searched` says where a token was looked for.
pub(super) fn from_client(error: &ClientError, searched: &str) -> Failure {
    let what = clean(&error.to_string());
    match error {
        ClientError::Unreachable { .. } => Failure::new(ExitCode::Unreachable, what)
            .next("start a node (`pentora-node start --init`), or name one: --api https://HOST:PORT or PENTORA_API"),
        ClientError::Untrusted { .. } => Failure::new(ExitCode::Failure, what).next(
            "name whom to trust: --ca-fingerprint SHA256 of the cluster's authority, from somebody who knows it, or --ca-file FILE",
        ),
        ClientError::Interrupted { .. } => Failure::new(ExitCode::Unreachable, what)
            .next("ask again; what was submitted may have been accepted (`pentora job list` shows it)"),
        ClientError::Refused { status: 401, .. } => Failure::new(ExitCode::Failure, "the node wants a token (401)")
            .because(format!("{what}\ntoken: {searched}"))
            .next("give the file with a token that is valid there: --token-file F or PENTORA_TOKEN_FILE"),
        ClientError::Refused { status, problem } => {
            advised(Failure::new(exit_of(*status, &problem.code), what), &problem.code)
        }
        ClientError::Unexpected { status: 502..=504 } => Failure::new(ExitCode::Unreachable, what),
        _ => Failure::new(ExitCode::Failure, what),
    }
}

/// The exit code of a problem, by its stable code first.
fn exit_of(status: u16, code: &str) -> ExitCode {
    match (code, status) {
        (
            "scope_denied" | "excluded" | "ambiguous_site" | "no_eligible_node" | "outside_window" | "outside_region"
            | "removal_refused" | "not_a_member" | "bundle_refused" | "unknown_signer",
            _,
        ) => ExitCode::Refused,
        ("transfer_failed", _) => ExitCode::Failure,
        ("quorum_lost", _) | (_, 502..=504) => ExitCode::Unreachable,
        (_, 400 | 413 | 422) => ExitCode::Usage,
        _ => ExitCode::Failure,
    }
}

/// Adds what to do next about a problem of the API.
pub(super) fn advised(failure: Failure, code: &str) -> Failure {
    match code {
        "scope_denied" => {
            failure.next("leave the address out, or let the cluster scan it: pentora scope add CIDR --reason TEXT")
        }
        "outside_window" => {
            failure.next("let it wait until they may be, with --wait-for-window; `pentora window list` prints when")
        }
        "outside_region" => {
            failure.next("give the command on one of them, or name its API (not the mesh's port): --api https://HOST:PORT")
        }
        "ambiguous_site" => failure.next("say which is meant: --site NAME; `pentora site list` prints their networks"),
        "excluded" => failure.next("`pentora exclude list` prints what is left out of every job"),
        "no_eligible_node" => {
            failure.next("drop a requirement, add a node, or let it wait for one with --wait-for-worker")
        }
        "quorum_lost" | "no_leader" => failure.next("bring voters back; `pentora cluster status` shows who is missing"),
        "not_joined" => failure.next("start the node that it asks; the table in docs/OPERATING.md, \"Starting in any order\", says what each word means"),
        "queue_full" => failure.next("`pentora queue` shows what waits, runs and is held"),
        "unknown_signer" => failure.next(
            "hold the key against the one that `pentora worker orders` prints on the worker; if it is the same, add --trust KEY",
        ),
        "order_used" | "order_repeats" => failure.next("sign what is to be scanned once more: pentora scan ... --sign"),
        "node_unknown" => failure.next("`pentora cluster status` shows the nodes"),
        "keep_unknown" => failure.next("`pentora keep list` shows the standing scans"),
        "schedule_unknown" => failure.next("`pentora schedule list` shows the schedules"),
        "job_unknown" => failure.next("`pentora job list` shows the jobs"),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Problem;

    #[test]
    fn every_answer_of_the_api_has_its_exit_code() {
        let refused =
            |status, code| ClientError::Refused { status, problem: Box::new(Problem::new(status, code, "t", "d")) };
        let unreachable = ClientError::Unreachable { endpoints: "e".into(), reason: "r".into() };
        for (error, exit) in [
            (refused(403, "scope_denied"), ExitCode::Refused),
            (refused(403, "excluded"), ExitCode::Refused),
            (refused(409, "no_eligible_node"), ExitCode::Refused),
            (refused(409, "outside_window"), ExitCode::Refused),
            (refused(409, "outside_region"), ExitCode::Refused),
            (refused(409, "removal_refused"), ExitCode::Refused),
            (refused(503, "quorum_lost"), ExitCode::Unreachable),
            (refused(503, "not_joined"), ExitCode::Unreachable),
            (refused(400, "bad_targets"), ExitCode::Usage),
            (refused(422, "bad_request"), ExitCode::Usage),
            (refused(404, "job_unknown"), ExitCode::Failure),
            (refused(401, "unauthorized"), ExitCode::Failure),
            (unreachable, ExitCode::Unreachable),
            (ClientError::Interrupted { reason: "r".into() }, ExitCode::Unreachable),
            (ClientError::Unexpected { status: 404 }, ExitCode::Failure),
            (ClientError::Unexpected { status: 502 }, ExitCode::Unreachable),
        ] {
            assert_eq!(from_client(&error, "here").exit, exit, "{error:?}");
        }
    }

    #[test]
    fn a_missing_token_says_where_it_was_looked_for() {
        let problem = Box::new(Problem::new(401, "unauthorized", "t", "no bearer token"));
        let failure = from_client(&ClientError::Refused { status: 401, problem }, "/d/admin.token: No such file");
        assert!(failure.to_string().contains("no bearer token") && failure.to_string().contains("/d/admin.token"));
    }
}
