//! Every route there is, one a row, in the order in which they are read: see `routes`.

use pentora_raft::command::AccessRole;

use super::super::openapi::{Operation, boolean, integer, says, string};
use super::super::{
    Access, access, airgap, audit, capacity, cluster, drain, drill, feeds, findings, job_control, jobs, keeps, members,
    metrics, register, rules, scans, schedules, sessions, settings, strangers, stream, tokens,
};
use super::{Route, delete, get, patch, post, put};
use crate::document::{
    AccessTokenCreated, AccessTokenDocument, AccessTokenRequest, AuditDocument, Budgets, CancelRequest,
    CapacityDocument, ClusterDocument, DrainRequest, EmptyWriteDocument, Exclusions, ExplainDocument, FaultDocument,
    FaultRequest, FeedDocument, HeartbeatDocument, ImportDocument, JobDocument, JobEvent, KeepDocument, KeepRequest,
    Noun, OfflineWorkerDocument, PauseRequest, PlanDocument, PolicyRequest, Profiles, QueueDocument,
    RegistrationDocument, RegistrationRequest, RemovalDocument, ReprioritizeRequest, RuleDocument, ScanAccepted,
    ScanRequest, ScheduleDocument, ScheduleRequest, ScheduleTimes, Scopes, SessionDocument, SettingsChange,
    SettingsDocument, Sites, TokenCreated, TokenDocument, TokenRequest, TransferRequest, VersionDocument, Windows,
    WorkerDocument,
};
use crate::feeds::explain::Explained;

/// All of them.
pub(in crate::api) fn routes() -> Vec<Route> {
    let of_rules = [
        of_rules::<Scopes>(),
        of_rules::<Exclusions>(),
        of_rules::<Profiles>(),
        of_rules::<Windows>(),
        of_rules::<Budgets>(),
        of_rules::<Sites>(),
    ];
    let parts = [
        of_jobs(),
        of_queue(),
        of_standing(),
        of_workers(),
        of_cluster(),
        of_nodes(),
        of_people(),
        of_data(),
        of_supervisors(),
    ];
    parts.into_iter().flatten().chain(of_rules.into_iter().flatten()).collect()
}

const STOPS_WORK: &str = "Cancels its jobs, and pauses its schedules and standing scans.";

/// A node is taken out, at once or a little later.
fn removal(what: &'static str) -> Operation {
    says(what).answers::<RemovalDocument>(200, "It is out.").answers::<RemovalDocument>(202, "The leader is at it.")
}

fn of_jobs() -> Vec<Route> {
    use AccessRole::{Auditor, Operator, Viewer};
    let job = |what| says(what).answers::<JobDocument>(200, "The job as it stands then.");
    let after = |operation: Operation| operation.lists::<JobEvent>().streams();
    let place = |operation: Operation| {
        operation.asks("address", string(), "On which host.").asks("port", integer(), "On which port.")
    };
    vec![
        post(
            Operator,
            "/api/v1/scans",
            scans::submit,
            says("Takes a scan, or with `plan` says what would become of it.")
                .takes::<ScanRequest>()
                .asks("plan", boolean(), "Send and keep nothing.")
                .answers::<ScanAccepted>(202, "The job is in the log; `Location` says where.")
                .answers::<PlanDocument>(200, "What would become of it.")
                .refuses(&[429]),
        )
        .large(),
        get(Viewer, "/api/v1/jobs", jobs::list, says("Jobs, the newest first.").lists::<JobDocument>()),
        get(Viewer, "/api/v1/jobs/{id}", jobs::one, job("One job.")),
        get(
            Viewer,
            "/api/v1/jobs/{id}/results",
            jobs::results,
            says("A job's accepted results so far.").answers_text("application/x-ndjson", "A host a line."),
        ),
        get(
            Auditor,
            "/api/v1/jobs/{id}/bundle",
            airgap::job,
            says("A finished job with its order, the audit log's entries and its results, signed, to be verified without a node.")
                .answers_bytes("application/gzip", "The bundle.")
                .refuses(&[404, 409, 503, 507]),
        ),
        get(Viewer, "/api/v1/jobs/{id}/events", stream::of_job, after(says("A job's history."))),
        get(
            Viewer,
            "/api/v1/events",
            stream::of_all,
            after(says("The history of all jobs, of nodes and of the policy, in the log's order.")),
        ),
        get(
            Viewer,
            "/api/v1/jobs/{id}/findings/{finding}/explain",
            findings::explain,
            place(says("Why a finding of a job is one.").lists::<Explained>()),
        ),
        post(
            Operator,
            "/api/v1/jobs/{id}/cancel",
            jobs::cancel,
            job("Stops a job; what was found stays.").may_take::<CancelRequest>(),
        ),
        delete(Operator, "/api/v1/jobs/{id}", jobs::delete, says("Forgets an ended job.").answers_done()),
        post(Operator, "/api/v1/jobs/{id}/pause", job_control::pause, job("Holds a job.").may_take::<PauseRequest>()),
        post(Operator, "/api/v1/jobs/{id}/resume", job_control::resume, job("Lets a job go on.")),
        post(
            Operator,
            "/api/v1/jobs/{id}/reprioritize",
            job_control::reprioritize,
            job("Gives a job another priority.").takes::<ReprioritizeRequest>(),
        ),
    ]
}

/// How jobs stand, to each other and to the nodes.
fn of_queue() -> Vec<Route> {
    use AccessRole::Viewer;
    vec![
        get(
            Viewer,
            "/api/v1/jobs/{id}/explain",
            job_control::explain,
            says("Why a job stands as it does.").answers::<ExplainDocument>(200, "Its parts, and who may take them."),
        ),
        get(
            Viewer,
            "/api/v1/queue",
            job_control::queue,
            says("The jobs that are not over, by class.").answers::<QueueDocument>(200, "The classes."),
        ),
        get(
            Viewer,
            "/api/v1/capacity",
            capacity::measured,
            says("What past jobs say of how long targets take.")
                .asks("job", string(), "Of this job alone.")
                .answers::<CapacityDocument>(200, "What they say.")
                .refuses(&[404]),
        ),
    ]
}

fn of_standing() -> Vec<Route> {
    use AccessRole::{Operator, Viewer};
    let keep = |what| says(what).answers::<KeepDocument>(200, "The standing scan as it stands then.");
    let schedule = |what| says(what).answers::<ScheduleDocument>(200, "The schedule as it stands then.");
    vec![
        get(Viewer, "/api/v1/keeps", keeps::list, says("Standing scans, by name.").lists::<KeepDocument>()),
        post(
            Operator,
            "/api/v1/keeps",
            keeps::create,
            says("Makes a standing scan.").takes::<KeepRequest>().answers::<KeepDocument>(201, "It is made."),
        )
        .large(),
        get(Viewer, "/api/v1/keeps/{name}", keeps::one, keep("One standing scan.")),
        delete(Operator, "/api/v1/keeps/{name}", keeps::remove, says("Ends a standing scan.").answers_done()),
        post(Operator, "/api/v1/keeps/{name}/pause", keeps::pause, keep("Holds a standing scan.")),
        post(Operator, "/api/v1/keeps/{name}/resume", keeps::resume, keep("Lets a standing scan go on.")),
        get(Viewer, "/api/v1/schedules", schedules::list, says("Schedules, by name.").lists::<ScheduleDocument>()),
        post(
            Operator,
            "/api/v1/schedules",
            schedules::create,
            says("Makes a schedule.").takes::<ScheduleRequest>().answers::<ScheduleDocument>(201, "It is made."),
        )
        .large(),
        get(Viewer, "/api/v1/schedules/{name}", schedules::one, schedule("One schedule.")),
        delete(Operator, "/api/v1/schedules/{name}", schedules::remove, says("Takes a schedule away.").answers_done()),
        get(
            Viewer,
            "/api/v1/schedules/{name}/next",
            schedules::next,
            says("A schedule's next times, also of one that is paused.")
                .asks("count", integer().minimum(Some(1)).maximum(Some(schedules::NEXT_MAX)), "How many.")
                .answers::<ScheduleTimes>(200, "Its times.")
                .refuses(&[422]),
        ),
        post(Operator, "/api/v1/schedules/{name}/pause", schedules::pause, schedule("Holds a schedule.")),
        post(Operator, "/api/v1/schedules/{name}/resume", schedules::resume, schedule("Lets a schedule go on.")),
    ]
}

fn of_workers() -> Vec<Route> {
    use Access::Worker;
    use AccessRole::{Admin, Viewer};
    vec![
        get(Viewer, "/api/v1/workers", cluster::workers, says("Every node as a worker.").lists::<WorkerDocument>()),
        post(
            Worker,
            register::REGISTER,
            register::register,
            says("Registers a worker, by its join token's credential or an administrator's token.")
                .takes::<RegistrationRequest>()
                .answers::<RegistrationDocument>(201, "How it goes on."),
        ),
        post(
            Worker,
            "/api/v1/workers/{id}/heartbeat",
            register::heartbeat,
            says("What the cluster hears of a worker.")
                .answers::<HeartbeatDocument>(200, "Whether its reports arrive."),
        ),
        get(
            Viewer,
            "/api/v1/workers/{id}",
            register::one,
            says("One worker, by its id or name.").answers::<WorkerDocument>(200, "The worker."),
        ),
        post(
            Admin,
            "/api/v1/workers/{id}/revoke",
            register::revoke,
            removal("Takes a worker out of the cluster for good."),
        ),
        post(
            Admin,
            "/api/v1/workers/{id}/drain",
            drain::drain,
            says("Gives a worker nothing new.").may_take::<DrainRequest>().answers_done(),
        ),
        post(Admin, "/api/v1/workers/{id}/resume", drain::resume, says("Gives a worker work again.").answers_done()),
        get(
            Admin,
            "/api/v1/worker-tokens",
            tokens::list,
            says("Join tokens, without their secrets.").lists::<TokenDocument>(),
        ),
        post(
            Admin,
            "/api/v1/worker-tokens",
            tokens::create,
            says("Makes a join token.").takes::<TokenRequest>().answers::<TokenCreated>(201, "The token, this once."),
        ),
        delete(Admin, "/api/v1/worker-tokens/{id}", tokens::revoke, says("Makes a join token useless.").answers_done()),
    ]
}

/// The routes of one kind of rule.
fn of_rules<N: Noun>() -> Vec<Route> {
    use AccessRole::{Admin, Viewer};
    let (all, one) = (format!("/api/v1/{}", N::PATH), format!("/api/v1/{}/{{name}}", N::PATH));
    let rule = |operation: Operation, status, what: &str| operation.answers::<RuleDocument<N::Words>>(status, what);
    let written = says("Writes a rule, over one of the same name.").takes::<N::Request>();
    let written = rule(rule(written, 201, "It holds."), 200, "It holds in place of the one before.");
    vec![
        get(Viewer, all.clone(), rules::list::<N>, says("The rules of a kind.").lists::<RuleDocument<N::Words>>()),
        post(Admin, all, rules::write::<N>, written).large(),
        get(Viewer, one.clone(), rules::show::<N>, rule(says("One rule."), 200, "The rule.")),
        delete(Admin, one, rules::remove::<N>, says("Takes a rule away.").answers_done()),
    ]
}

fn of_cluster() -> Vec<Route> {
    use AccessRole::{Admin, Viewer};
    let cluster = |what| says(what).answers::<ClusterDocument>(200, "The cluster as this node knows it.");
    let settings = |what| says(what).answers::<SettingsDocument>(200, "What holds then.");
    vec![
        get(Viewer, "/api/v1/cluster", cluster::cluster, cluster("Who leads, who votes, who scans.")),
        post(
            Admin,
            "/api/v1/cluster/transfer-leadership",
            cluster::transfer,
            cluster("Hands leadership over.").may_take::<TransferRequest>().refuses(&[404]),
        ),
        get(
            Viewer,
            "/api/v1/cluster/settings",
            settings::get,
            settings("How work is shared out, timed and tried again."),
        ),
        patch(
            Admin,
            "/api/v1/cluster/settings",
            settings::change,
            settings("Changes some of that for all nodes.").takes::<SettingsChange>(),
        ),
        get(
            Admin,
            "/api/v1/cluster/snapshot",
            cluster::snapshot,
            says("A backup of the cluster.").answers_bytes("application/octet-stream", "The backup, as it is made."),
        ),
        post(Admin, "/api/v1/cluster/leave", members::leave, removal("Takes the answering node out of its cluster."))
            .of_the_node_asked(),
    ]
}

/// What the cluster says of a node, and what a node is to suffer.
fn of_nodes() -> Vec<Route> {
    use AccessRole::Admin;
    vec![
        post(
            Admin,
            "/api/v1/cluster/nodes/{name}/remove",
            members::remove,
            removal("Takes a node out of the cluster.").asks("plan", boolean(), "Only say what that would come to."),
        ),
        post(
            Admin,
            "/api/v1/cluster/nodes/{name}/promote",
            members::promote,
            says("Wants a node among the voters.").answers_done(),
        ),
        post(
            Admin,
            "/api/v1/cluster/nodes/{name}/demote",
            members::demote,
            says("Keeps a node from voting.").answers_done(),
        ),
        patch(
            Admin,
            "/api/v1/cluster/nodes/{name}",
            members::set,
            says("Changes the cluster's word about a node.").takes::<PolicyRequest>().answers_done(),
        ),
        post(
            Admin,
            "/api/v1/cluster/nodes/{name}/fault",
            drill::fault,
            says("Has a node suffer a fault, for a drill.")
                .takes::<FaultRequest>()
                .answers::<FaultDocument>(202, "It begins in a moment."),
        ),
        get(
            Admin,
            "/api/v1/cluster/empty-write",
            drill::empty_write,
            says("Whether the log takes writes: one that changes nothing is put into it.")
                .answers::<EmptyWriteDocument>(200, "It was written."),
        ),
    ]
}

fn of_people() -> Vec<Route> {
    use AccessRole::{Admin, Auditor, Viewer};
    let token = |what| says(what).answers::<AccessTokenDocument>(200, "The token, without its secret.");
    vec![
        get(
            Admin,
            "/api/v1/tokens",
            access::list,
            says("Access tokens, without their secrets.").lists::<AccessTokenDocument>(),
        ),
        post(
            Admin,
            "/api/v1/tokens",
            access::create,
            says("Makes an access token.")
                .takes::<AccessTokenRequest>()
                .answers::<AccessTokenCreated>(201, "The token, this once."),
        ),
        post(
            Viewer,
            sessions::LOGIN,
            sessions::login,
            says("Exchanges an access token for a session: a JWT that stands for it for a quarter of an hour.")
                .answers::<SessionDocument>(200, "The session."),
        ),
        get(Viewer, "/api/v1/tokens/self", access::own, token("The token that is shown.").refuses(&[404])),
        get(Admin, "/api/v1/tokens/{name}", access::show, token("One access token.")),
        delete(
            Admin,
            "/api/v1/tokens/{name}",
            access::revoke,
            says("Makes an access token useless.").answers_done().asks("with_work", boolean(), STOPS_WORK),
        ),
        post(
            Admin,
            "/api/v1/tokens/{name}/rotate",
            access::rotate,
            says("Gives an access token another secret.").answers::<AccessTokenCreated>(200, "The token, this once."),
        ),
        get(
            Auditor,
            "/api/v1/audit",
            audit::list,
            says("What was asked, by whom, and what came of it, the oldest first.").lists::<AuditDocument>(),
        ),
        get(
            Auditor,
            "/api/v1/audit/export",
            audit::export,
            says("The audit log, signed.")
                .answers_text("application/x-ndjson", "A line an entry, between two ends.")
                .refuses(&[409]),
        ),
    ]
}

fn of_data() -> Vec<Route> {
    use AccessRole::{Admin, Viewer};
    vec![
        get(Viewer, "/api/v1/feeds", feeds::list, says("The cluster's feeds.").lists::<FeedDocument>()),
        put(
            Admin,
            "/api/v1/feeds/{kind}",
            feeds::put,
            says("Makes a bundle the cluster's feed of its kind.")
                .takes_bytes("application/octet-stream")
                .answers::<FeedDocument>(201, "It is in the log; each node takes it into use."),
        )
        .large(),
        delete(Admin, "/api/v1/feeds/{kind}", feeds::remove, says("Takes a feed away.").answers_done()),
        post(
            Admin,
            "/api/v1/exports",
            airgap::export,
            says("Writes all orders that are carried out to workers without a network.")
                .asks("feeds", boolean(), "Whether feeds go with them; they do unless told otherwise.")
                .answers_bytes("application/gzip", "The bundle.")
                .refuses(&[507]),
        ),
        post(
            Admin,
            "/api/v1/imports",
            airgap::import,
            says("Takes a bundle of results in.")
                .takes_bytes("application/gzip")
                .asks("dry_run", boolean(), "Change nothing.")
                .asks("trust", string(), "Let the worker with this key in.")
                .answers::<ImportDocument>(200, "What came of it.")
                .refuses(&[507]),
        )
        .streamed(),
        get(
            Viewer,
            "/api/v1/offline-workers",
            airgap::workers,
            says("The workers without a network.").lists::<OfflineWorkerDocument>(),
        ),
        delete(
            Admin,
            "/api/v1/offline-workers/{name}",
            airgap::remove,
            says("Lets no more results of a worker in.").answers_done(),
        ),
    ]
}

/// For programs that have no token.
fn of_supervisors() -> Vec<Route> {
    use Access::Open;
    let text = |what| says(what).answers_text("text/plain", "It is so.");
    vec![
        get(Open, "/healthz", cluster::health, text("Whether the process runs.").refuses(&[503])),
        get(Open, "/readyz", cluster::ready, text("Whether the node knows a leader now.").refuses(&[503])),
        get(Open, "/metrics", metrics::metrics, text("Figures in Prometheus' text format.")),
        get(
            Open,
            "/version",
            cluster::version,
            says("What runs here.").answers::<VersionDocument>(200, "Its version."),
        ),
        get(
            Open,
            "/api/v1/openapi.json",
            strangers::describe,
            says("This description.").answers::<serde_json::Value>(200, "OpenAPI 3.1.").answers_unchanged(),
        ),
    ]
}
