//! The rooms of each crate, from top to bottom, and what each imports. A new room, import or loop is one line here.

use super::House;

pub(super) fn houses() -> [House; 5] {
    [
        House::new("scanner/src", SCANNER, SCANNER_LOOPS),
        House::new("raft/src", RAFT, RAFT_LOOPS),
        House::new("p2p/src", P2P, &[]),
        House::new("node/src", NODE, NODE_LOOPS),
        House::new("tests/src", TESTS, &[]),
    ]
}

const SCANNER: &str = "
    report: finding port
    fuzzing: detect io
    engine: detect finding io pace plan port scope session spec target udp
    detect: finding io pace port spec vuln
    io: arena finding neighbours pace packet permute plan session sweep target udp
    vuln: finding port
    udp: arena finding loss neighbours pace permute plan port rtt scope session spec target
    sweep: finding pace packet permute plan port rtt scope session spec target
    session: arena finding loss neighbours pace plan port rtt scope spec target
    pace:
    packet: finding
    plan: permute port spec target
    scope: target
    spec: port target
    neighbours: target
    finding: port
    port: target
    target:
    rtt:
    loss:
    permute:
    arena:
";

const SCANNER_LOOPS: &[(&str, &str, &str)] = &[
    ("detect", "engine", "the service stage takes a unit's progress and ends it, in the engine's types"),
    ("io", "engine", "what carries out a unit takes and ends it in the engine's types"),
    ("pace", "session", "the throttle of the connect scan is kept for all units of a job"),
];

const RAFT: &str = "
    handle: codec command config id network raft_types state store
    invariant: command id state
    network: codec id raft_types store
    store: codec command raft_types state
    raft_types: command
    state: codec command event id interval
    command: id
    autopilot: id
    event: id
    id:
    config:
    codec:
    interval:
";

const RAFT_LOOPS: &[(&str, &str, &str)] = &[(
    "command",
    "state",
    "a command carries the records that the tables keep (counts, feeds, partitions) and answers with leases",
)];

const P2P: &str = "
    swarm_wire: behaviour config event_loop gate handle peer_id peers protocol transport wire
    transport: config handle identity psk
    memory: config event_loop frame gate handle peer_id peers protocol psk slots wire
    event_loop: address config gate handle peer_id peers protocol wire
    wire: handle peer_id peers
    behaviour: config frame gate handle peer_id peers protocol
    handle: address config frame gate peer_id peers protocol
    gate: frame peer_id peers protocol slots
    peers: address config peer_id slots
    frame: peer_id protocol slots
    slots: protocol
    config: backoff identity protocol psk
    psk:
    protocol:
    identity: peer_id
    peer_id:
    backoff:
    address:
";

const NODE: &str = "
    cli: app client clock config document feeds
    app: api client config coordinator document feeds glue home jobs join results worker
    api: clock coordinator document feeds glue jobs join results
    worker: clock coordinator feeds glue jobs results
    client: config document feeds
    join: glue
    jobs: coordinator document glue results
    feeds: results
    results: glue
    glue: coordinator
    coordinator:
    document:
    config:
    home:
    clock:
";

const NODE_LOOPS: &[(&str, &str, &str)] = &[
    ("app", "cli", "a node that ends says why in the command line's words, its failure and exit code"),
    ("results", "feeds", "a report is matched again with the feeds in use when it is read"),
    ("coordinator", "jobs", "a unit's spec is read by the same function for the leader and the worker"),
];

const TESTS: &str = "
    tidy:
    cluster: binaries command_line http lab process wait
    command_line: binaries lab process
    lab: binaries dice http privileges process
    process: wait
    wait:
    privileges:
    http:
    dice:
    binaries:
";
