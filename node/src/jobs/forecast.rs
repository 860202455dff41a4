//! What a request would become: its parts, who may take each, and what it would send and take. Nothing is sent or kept.

mod packets;

use pentora_raft::state::{NodeRecord, Partition, Settings, residency_in, signer_in};
use pentora_raft::{NodeId, State};
use pentora_scanner::spec::{EngineChoice, ScanSpec, Timing};
use pentora_scanner::target::TargetSet;

use self::packets::Basis;
use super::Prepared;
use super::split::as_asked;
use crate::coordinator::explain::{self, Placed};
use crate::coordinator::{VERSION, placement};
use crate::document::{Between, PlanDocument, PlanPart, PlanRefusal};
use crate::work_protocol::{CONNECT_PPS, RAW_PPS};

/// How much of a part's targets is shown, in characters.
const SHOWN_CHARS_MAX: usize = 80;

/// What a scan of normal timing begins with, in packets per second.
const START_PPS: f64 = 400.0;
/// What a job takes beside its sending, in seconds: at least the way there and back, at most the time for which it waits for silent
/// targets, asks them again, and asks a sample of them once more.
const WAITS_LEAST: f64 = 0.5;
const WAITS_MOST: f64 = 6.0;

/// What `prepared` would become on the nodes of `state`.
#[must_use]
pub fn forecast(prepared: &Prepared, state: &State, settings: &Settings, now_ms: u64) -> PlanDocument {
    let spec = &prepared.spec;
    let priority = prepared.request.priority;
    let placed = |partition: &Partition| explain::placed(state, &partition.needs, priority, settings, now_ms);
    let placed: Vec<Placed> = prepared.partitions.iter().map(placed).collect();
    let basis = Basis::of(spec, state);
    let parts: Vec<PlanPart> = prepared
        .partitions
        .iter()
        .zip(&spec.partitions)
        .zip(&placed)
        .map(|((partition, targets), placed)| {
            part_of((spec, &basis), prepared.request.workers, partition, targets, state, placed)
        })
        .collect();
    let packets = parts.iter().fold(Between { least: 0u64, most: 0u64 }, |sum, part| Between {
        least: sum.least.saturating_add(part.packets.least),
        most: sum.most.saturating_add(part.packets.most),
    });
    let longest = |pick: fn(&Between<f64>) -> f64| {
        let mut seconds = parts.iter().map(|part| part.seconds.as_ref().map(pick));
        seconds.try_fold(0.0, |most: f64, seconds| seconds.map(|seconds| most.max(seconds)))
    };
    let budget = spec.budget_pps().map(|pps| pps as f64);
    let paced = |packets: u64| budget.map_or(0.0, |pps| packets as f64 / pps);
    let seconds = longest(|seconds| seconds.least)
        .zip(longest(|seconds| seconds.most))
        .map(|(least, most)| Between { least: least.max(paced(packets.least)), most: most.max(paced(packets.most)) });
    PlanDocument {
        accepted: placed.iter().all(|placed| !placed.eligible.is_empty() || !placed.busy.is_empty()),
        targets: prepared.partitions.iter().map(|part| part.target_count).sum(),
        ports: spec.ports.count(),
        priority,
        packets,
        seconds,
        rests_on: basis.words(),
        partitions: parts,
    }
}

fn part_of(
    (spec, basis): (&ScanSpec, &Basis),
    workers: Option<u32>,
    partition: &Partition,
    targets: &TargetSet,
    state: &State,
    placed: &Placed,
) -> PlanPart {
    let count = partition.target_count;
    let packets = basis.packets(spec, count);
    // Whoever has no room now will have some: the job waits for that in the queue.
    let who = if placed.eligible.is_empty() { &placed.busy } else { &placed.eligible };
    let mut rates: Vec<f64> = who.iter().filter_map(|id| state.node(*id)).map(|node| pps_of(node, spec)).collect();
    rates.sort_by(|a, b| b.total_cmp(a));
    rates.truncate(workers.map_or(usize::MAX, |workers| workers as usize));
    let able: f64 = rates.iter().sum();
    let budget = spec.budget_pps().map_or(able, |pps| able.min(pps as f64));
    let nodes = rates.len().max(1) as f64;
    let time = |packets: u64, waits: f64| sending(packets as f64 / nodes, budget / nodes, spec) + waits;
    let seconds = (budget > 0.0)
        .then(|| Between { least: time(packets.least, WAITS_LEAST), most: time(packets.most, WAITS_MOST) });
    let name = |id: NodeId| state.node(id).map_or_else(|| format!("node {id}"), NodeRecord::worker_id);
    let asked = as_asked(targets, &partition.needs);
    // Of networks that are wider than what is asked for, what a node does not reach of that is told.
    let reason = |id: NodeId, why: &String| {
        let told = state.node(id).and_then(|node| placement::refused(state, id, node, &asked, VERSION));
        told.unwrap_or_else(|| why.clone())
    };
    PlanPart {
        targets: count,
        addresses: shown(targets),
        needs: needs_words(partition),
        eligible: placed.eligible.iter().map(|id| name(*id)).collect(),
        refused: placed
            .refused
            .iter()
            .map(|(id, why)| PlanRefusal { worker_id: name(*id), reason: reason(*id, why) })
            .collect(),
        packets,
        seconds,
    }
}

/// How long a node sends so many packets, in seconds, where it comes to `pps` by and by: a rate that nobody gave begins low and
/// doubles each second (decision 0011).
fn sending(packets: f64, pps: f64, spec: &ScanSpec) -> f64 {
    let start = match spec.timing {
        Timing::Fast => pps,
        Timing::Normal | Timing::Polite if spec.rate_pps.is_some() => pps,
        Timing::Normal => START_PPS,
        Timing::Polite => START_PPS / 4.0,
    };
    let start = start.min(pps);
    // The integral of start * 2^t is (2^t - 1) * start / ln 2.
    let (rising, while_rising) = ((pps / start).log2(), (pps - start) / std::f64::consts::LN_2);
    if packets <= while_rising {
        return (packets * std::f64::consts::LN_2 / start + 1.0).log2();
    }
    rising + (packets - while_rising) / pps
}

/// What a node is taken to be good for before a job was measured.
fn pps_of(node: &NodeRecord, spec: &ScanSpec) -> f64 {
    let has_raw = node.info.engines.iter().any(|engine| *engine == EngineChoice::Raw.to_string());
    if has_raw && spec.engine != EngineChoice::Connect { RAW_PPS } else { CONNECT_PPS }
}

/// What a part needs of a worker, in words.
pub(crate) fn needs_words(partition: &Partition) -> Vec<String> {
    let needs = &partition.needs;
    let networks = needs.networks.iter().map(|net| format!("reaches {net}"));
    let region = needs.region.iter().map(|region| format!("region {region}"));
    let tags = needs.required_tags.iter().map(|tag| {
        let signed = || signer_in(tag).map(|key| format!("signed by {key}"));
        let stays = || residency_in(tag).map(|region| format!("results stay in {region}"));
        let site = placement::site_in(tag).map(|site| format!("site {site}"));
        site.or_else(stays).or_else(signed).unwrap_or_else(|| format!("tag {tag}"))
    });
    let preferred = needs.preferred_tags.iter().map(|tag| format!("rather tag {tag}"));
    let engine = needs.engine.iter().map(|engine| format!("engine {engine}"));
    networks.chain(region).chain(tags).chain(engine).chain(preferred).collect()
}

/// The first of a part's targets.
fn shown(targets: &TargetSet) -> String {
    let text = targets.to_string();
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
