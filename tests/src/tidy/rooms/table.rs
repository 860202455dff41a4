//! The rooms of each crate, from top to bottom, and what each imports. A new room, import or loop is one line here.

use super::CrateRooms;

pub(super) fn crates() -> [CrateRooms; 5] {
    [
        CrateRooms::new("scanner/src", SCANNER, &[]),
        CrateRooms::new("raft/src", RAFT, RAFT_LOOPS),
        CrateRooms::new("p2p/src", P2P, &[]),
        CrateRooms::new("node/src", NODE, &[]),
        CrateRooms::new("tests/src", TESTS, &[]),
    ]
}

const SCANNER: &str = "
    report: finding port
    fuzzing: detect io
    nmap: finding port target
    engine: detect gate io plan port scan spec target unit
    detect: authority finding gate io pace port scan spec unit vuln
    vuln: authority finding gate port
    authority:
    io: connect_scan finding neighbours pace packet permute plan scan slot_map spec syn_scan tally target udp_scan unit
    unit: finding pace scope spec tally
    udp_scan: finding gate neighbours pace permute plan port scan scope slot_map spec tally target
    syn_scan: finding gate network pace packet permute plan port rtt scan scope spec tally target
    packet: finding
    connect_scan: finding gate neighbours pace plan port scan scope slot_map tally
    slot_map:
    scan: finding loss neighbours pace permute plan port rtt spec tally target
    tally: finding
    rtt: network
    loss:
    plan: permute port spec target
    permute:
    pace: network spec
    network:
    neighbours: target
    gate: port scope spec
    spec: port target
    scope: target
    finding: port
    port: target
    target:
";

const RAFT: &str = "
    autopilot: id
    invariant: command id state
    handle: codec command config id network raft_types state store
    network: codec id raft_types store
    store: codec command raft_types state
    state: codec command event id interval names
    interval:
    event: command id names
    raft_types: command
    config:
    command: id names
    names:
    id:
    codec:
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
    dispatch: app cli failure malloc
    malloc:
    cli: client clock config document embedded exclusions failure feeds
    app: api client config coordinator data_dir document embedded failure feeds jobs join member_address raft_transport results rpc spec work_protocol worker
    worker: clock coordinator exclusions feeds results rpc spec work_protocol
    raft_transport:
    embedded: client document failure feeds
    failure:
    data_dir: durable_file member_address
    client: config document feeds
    config: durable_file
    api: clock coordinator document feeds jobs join results rpc spec work_protocol
    join: member_address rpc
    member_address:
    jobs: coordinator document exclusions results rpc spec
    feeds: results
    document: exclusions
    exclusions:
    coordinator: rpc spec work_protocol
    spec: results
    results: durable_file rpc
    durable_file:
    rpc: work_protocol
    work_protocol:
    clock:
";

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
