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
    report: finding port recall target
    fuzzing: detect io udp_scan
    nmap: finding port target
    engine: detect finding gate identity io occupancy plan port recapture scan spec target udp_scan unit vendors
    recapture: finding gate network permute plan port recall scan spec target unit watermark
    identity: finding io target unit vendors watermark
    detect: authority echo finding gate io occupancy packed pace port scan spec target udp_scan unit vuln watermark
    vuln: authority echo finding gate packed port
    echo:
    authority:
    vendors: finding
    watermark: tally unit
    io: connect_scan finding gate neighbours network occupancy pace packet permute plan port scan slot_map spec syn_scan tally target udp_scan unit
    unit: finding pace recall scope spec tally
    udp_scan: finding gate neighbours pace permute plan port scan scope slot_map spec tally target
    syn_scan: finding gate network pace packet permute plan port rtt scan scope spec tally target
    packet: finding
    connect_scan: finding gate loss neighbours occupancy pace plan port scan scope slot_map spec tally target
    slot_map:
    occupancy:
    packed:
    scan: finding loss neighbours pace permute plan port rtt spec tally target
    tally: finding
    rtt: network
    loss:
    plan: permute port spec target
    permute:
    recall:
    pace: network spec
    network:
    neighbours: target
    gate: port scope spec target
    spec: port target
    scope: target
    finding: port
    port: target
    target:
";

const RAFT: &str = "
    fuzzing: network store
    recovery: command id kill_point raft_types state store version
    autopilot: id
    invariant: command id state
    handle: clock codec command config id leadership network raft_types state store view
    network: codec id leadership raft_types store
    leadership: id
    view: codec command id state
    store: clock codec command kill_point raft_types state version
    kill_point:
    state: codec command event id interval names version
    interval:
    event: command id names
    raft_types: command
    config: clock
    clock:
    command: id names version
    names:
    version:
    id:
    codec:
";

const RAFT_LOOPS: &[(&str, &str, &str)] = &[(
    "command",
    "state",
    "a command carries the records that the tables keep (counts, feeds, partitions) and answers with leases",
)];

const P2P: &str = "
    fuzzing: frame protocol
    swarm_wire: behaviour config cut event_loop gate handle lines peer_id peers protocol transport wire
    transport: config cut handle identity lines peer_id psk
    memory: config event_loop frame gate handle peer_id peers protocol psk slots wire
    event_loop: address config gate handle peer_id peers protocol wire
    wire: handle peer_id peers
    behaviour: config frame gate handle peer_id peers protocol
    handle: address config cut frame gate lines peer_id peers protocol
    cut: peer_id
    lines:
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
    next:
    fuzzing: data_dir gateway join results rpc sign_in work_protocol
    dispatch: app cli dumps failure malloc masked privilege
    dumps:
    privilege:
    cli: airgap backup capacity client clock config data_dir document drill durable_file embedded exclusions failure feeds masked orders signing tls
    app: access airgap api backup client clock config coordinator data_dir document drill durable_file embedded failure feeds gateway holders jobs join keeps malloc member_address meters orders outside policy raft_transport results rpc schedules sign_in signing spec tls traces trail work_protocol worker
    malloc:
    outside: gateway member_address
    gateway: coordinator rpc work_protocol
    holders: results rpc
    access: results rpc
    worker: clock coordinator exclusions feeds jobs meters orders policy results rpc signing spec traces work_protocol
    raft_transport:
    embedded: client document failure feeds
    failure:
    client: config document durable_file feeds tls
    config: durable_file policy sign_in signing tls traces
    api: airgap backup capacity clock coordinator document drill feeds jobs join keeps masked meters orders results rpc schedules sign_in spec tls traces trail work_protocol
    capacity: document
    airgap: clock document durable_file jobs orders policy results rpc signing spec
    backup: results rpc
    join: member_address rpc tls trail
    schedules: clock document jobs results rpc
    keeps: document jobs policy results rpc
    jobs: clock coordinator document exclusions masked orders policy results rpc spec work_protocol
    orders: clock document signing
    feeds: durable_file policy results
    document: clock exclusions policy
    coordinator: clock exclusions policy results rpc spec traces work_protocol
    exclusions:
    policy: clock signing
    signing:
    spec: results
    results: durable_file rpc
    trail: rpc
    rpc: clock drill member_address work_protocol
    drill:
    meters:
    work_protocol:
    sign_in: data_dir durable_file tls
    data_dir: durable_file member_address tls
    member_address:
    traces: clock tls
    tls: durable_file
    durable_file:
    clock:
    masked:
";

const TESTS: &str = "
    tidy:
    containers: binaries lab
    cluster: binaries command_line http lab process wait
    command_line: binaries lab process
    lab: binaries dice http privileges process
    process: wait
    wait:
    privileges:
    http:
    linearizable:
    dice:
    binaries:
";
