//! Across an air gap with real processes: orders to a worker that reaches nothing, results back, and what happens to the files
//! on the way. The steps are those of the runbook in `docs/OPERATING.md`.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use pentora_tests::binaries::binary;
use pentora_tests::cluster::{Cluster, Job};
use pentora_tests::command_line::{Ran, pentora};
use pentora_tests::lab::Lab;
use pentora_tests::process::Process;
use pentora_tests::wait;
use serde_json::Value;

/// An order of sixteen addresses is carried out within this.
const ORDER_MAX: Duration = Duration::from_secs(60);
/// A worker ends within this.
const STOP_MAX: Duration = Duration::from_secs(20);
/// The port of the one service at the plant.
const PORT: u16 = 8443;

/// The host that reaches nothing, and the folder that stands for its disk and the medium.
const PLANT: usize = 2;

struct Plant {
    host: usize,
    folder: tempfile::TempDir,
    config: PathBuf,
}

impl Plant {
    /// A plant with the original's configuration, its paths put below a folder.
    fn new() -> anyhow::Result<Self> {
        Self::at(PLANT)
    }

    /// The same on another host.
    fn at(host: usize) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        let text = format!(
            "worker:\n  mode: standalone\n  offline: true\n  region: plant\n\n  local_queue: {}\n  local_results: {}\n\nsync:\n  \
             export_interval: 1h\n  export_path: {}\n\nnode:\n  name: plant-7\n  data_dir: {}\nresults:\n  \
             free_space_floor: 1MiB\n",
            path("var/queue"),
            path("var/results"),
            path("usb/pentora-exports"),
            path("data")
        );
        let config = folder.path().join("air-gapped-worker.yaml");
        fs::write(&config, text)?;
        fs::create_dir(folder.path().join("usb"))?;
        Ok(Self { host, folder, config })
    }

    /// A file on the medium.
    fn usb(&self, name: &str) -> String {
        self.folder.path().join("usb").join(name).display().to_string()
    }

    fn worker(&self, cluster: &Cluster, words: &[&str]) -> anyhow::Result<Ran> {
        let config = self.config.display().to_string();
        let words = [&["worker"], words, &["--config", &config]].concat();
        pentora(cluster.lab().host(self.host), self.folder.path(), &[], &words)
    }

    fn start(&self, cluster: &Cluster) -> anyhow::Result<Process> {
        let mut command = cluster.lab().host(self.host).command(&binary("pentora")?);
        command.env_clear().env("HOME", self.folder.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.args(["worker", "start", "--config"]).arg(&self.config);
        Process::start(&mut command, &self.folder.path().join("worker.log"))
    }

    /// Waits until so many targets of the orders that it has are done here.
    fn wait_for(&self, cluster: &Cluster, targets: u64) -> anyhow::Result<()> {
        wait::until("the plant's orders to be carried out", ORDER_MAX, || {
            let orders = &self.worker(cluster, &["orders", "--json"])?.json()?;
            let kept = orders["orders"].as_array().into_iter().flatten().filter_map(|order| order["kept"].as_u64());
            Ok((kept.sum::<u64>() >= targets).then_some(()))
        })
    }

    fn key(&self, cluster: &Cluster) -> anyhow::Result<String> {
        let orders = &self.worker(cluster, &["orders", "--json"])?.json()?;
        Ok(orders["key"].as_str().context("a key")?.to_owned())
    }
}

/// Carries an order of sixteen of the plant's own addresses, and writes all that are carried to a file.
fn carry(cluster: &Cluster, file: &str) -> anyhow::Result<Job> {
    let words = ["127.0.0.0/28", "--ports", "8440-8445", "--carry", "--region", "plant", "--no-discovery"];
    let job = Job::submit(cluster, 1, &words)?;
    cluster.pentora(1, &["coordinator", "export", "--output", file])?.ok()?;
    Ok(job)
}

/// The key that signed the cluster's orders, as `coordinator export` told it.
fn cluster_key(cluster: &Cluster, file: &str) -> anyhow::Result<String> {
    let ran = cluster.pentora(1, &["coordinator", "export", "--output", file])?;
    let key =
        ran.stderr.split("--trust ").nth(1).and_then(|rest| rest.split(')').next()).context("a key in what it said")?;
    Ok(key.trim().to_owned())
}

fn import(cluster: &Cluster, file: &str, more: &[&str]) -> anyhow::Result<Value> {
    import_on(cluster, 1, file, more)
}

fn import_on(cluster: &Cluster, member: usize, file: &str, more: &[&str]) -> anyhow::Result<Value> {
    cluster.pentora(member, &[&["coordinator", "import", "--file", file, "--json"], more].concat())?.json()
}

fn status(cluster: &Cluster, job: &Job) -> anyhow::Result<String> {
    let document = &job.document(cluster, 1)?;
    Ok(document["status"].as_str().unwrap_or_default().to_owned())
}

/// The sockets that somebody listens on in the plant.
fn listening(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    cluster.lab().host(PLANT).within(|| {
        let mut lines = Vec::new();
        for table in ["tcp", "tcp6", "udp", "udp6"] {
            let text = fs::read_to_string(format!("/proc/thread-self/net/{table}"))?;
            // State 0A listens; a datagram socket that is bound to a port and no peer shows as 07.
            for line in text.lines().skip(1) {
                let fields: Vec<&str> = line.split_whitespace().collect();
                if let [_, local, _, state @ ("0A" | "07"), ..] = fields[..] {
                    lines.push(format!("{table} {local} {state}"));
                }
            }
        }
        Ok(lines)
    })
}

#[test]
fn orders_are_carried_to_a_worker_without_a_network_and_its_results_back_in_any_order() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(2)? else { return Ok(()) };
    let cluster = Cluster::of_one(lab)?;
    cluster.lab().isolate(PLANT)?;
    let plant = Plant::new()?;
    let first = carry(&cluster, &plant.usb("orders-1.tar.gz"))?;
    ensure!(status(&cluster, &first)? == "carried", "no node of the cluster scans it");

    // Nobody is trusted before a person said so, and nothing is changed before that.
    let stranger = plant.worker(&cluster, &["import", "--file", &plant.usb("orders-1.tar.gz")])?.refused(4)?;
    ensure!(stranger.contains("is not trusted here") && stranger.contains("--trust"), "{stranger}");
    ensure!(!plant.folder.path().join("var/queue/orders.json").exists());
    let key = cluster_key(&cluster, &plant.usb("again.tar.gz"))?;
    plant.worker(&cluster, &["import", "--file", &plant.usb("orders-1.tar.gz"), "--trust", &key])?.ok()?;

    let service = cluster.lab().host(PLANT).within(|| Ok(TcpListener::bind(("127.0.0.5", PORT))?))?;
    let before = listening(&cluster)?;
    let mut worker = plant.start(&cluster)?;
    plant.wait_for(&cluster, 16)?;
    ensure!(listening(&cluster)? == before, "it opens no port: {:?}", listening(&cluster)?);
    plant.worker(&cluster, &["export", "--output", &plant.usb("results-1.tar.gz")])?.ok()?;

    // Killed in between, it goes on from what it kept.
    worker.kill()?;
    let second = carry(&cluster, &plant.usb("orders-2.tar.gz"))?;
    plant.worker(&cluster, &["import", "--file", &plant.usb("orders-2.tar.gz")])?.ok()?;
    let mut worker = plant.start(&cluster)?;
    plant.wait_for(&cluster, 32)?;
    plant.worker(&cluster, &["export", "--output", &plant.usb("results-2.tar.gz")])?.ok()?;
    let third = carry(&cluster, &plant.usb("orders-3.tar.gz"))?;
    plant.worker(&cluster, &["import", "--file", &plant.usb("orders-3.tar.gz")])?.ok()?;
    let older = plant.worker(&cluster, &["import", "--file", &plant.usb("orders-2.tar.gz")])?.refused(4)?;
    ensure!(older.contains("is older than what is here"), "{older}");
    plant.wait_for(&cluster, 48)?;
    plant.worker(&cluster, &["export", "--output", &plant.usb("results-3.tar.gz")])?.ok()?;

    // The cluster trusts nobody either. The last bundle comes first, the first one twice, the second one is lost.
    let results = |number: u32| plant.usb(&format!("results-{number}.tar.gz"));
    let unknown = cluster.pentora(1, &["coordinator", "import", "--file", &results(3)])?.refused(4)?;
    ensure!(unknown.contains("is not trusted here"), "{unknown}");
    let key = plant.key(&cluster)?;
    let dry = import(&cluster, &results(3), &["--trust", &key, "--dry-run"])?;
    ensure!(dry["targets_counted"] == 16 && status(&cluster, &third)? == "carried", "{dry}");
    let taken = import(&cluster, &results(3), &["--trust", &key])?;
    ensure!(taken["missing_bundles"] == serde_json::json!(["1-2"]), "{taken}");
    ensure!(status(&cluster, &third)? == "completed");
    import(&cluster, &results(1), &[])?;
    let again = import(&cluster, &results(1), &[])?;
    ensure!(again["units_counted"] == 0 && again["missing_bundles"] == serde_json::json!(["2"]), "{again}");
    ensure!(status(&cluster, &first)? == "completed" && status(&cluster, &second)? == "carried");

    // A byte that was changed on the way, and a file that was cut.
    let whole = fs::read(results(2))?;
    for bad in [
        [&whole[..whole.len() / 2], &[whole[whole.len() / 2] ^ 1], &whole[whole.len() / 2 + 1..]].concat(),
        whole[..whole.len() - 20].to_vec(),
    ] {
        fs::write(plant.usb("bad.tar.gz"), bad)?;
        cluster.pentora(1, &["coordinator", "import", "--file", &plant.usb("bad.tar.gz")])?.refused(4)?;
    }
    ensure!(status(&cluster, &second)? == "carried");
    plant.worker(&cluster, &["export", "--all", "--output", &plant.usb("all.tar.gz")])?.ok()?;
    let all = import(&cluster, &plant.usb("all.tar.gz"), &[])?;
    ensure!(all["missing_bundles"] == serde_json::json!([]) && all["units_known"].as_u64() >= Some(2), "{all}");
    ensure!(status(&cluster, &second)? == "completed");

    // The results are those of any job, with where they came from.
    for job in [&first, &second, &third] {
        let document = job.document(&cluster, 1)?;
        ensure!(document["worker_stats"][0]["worker_id"] == "wrk_plant_7", "{document}");
        let hosts = job.results(&cluster, 1, "jsonl")?;
        ensure!(
            hosts.contains("127.0.0.5") && hosts.contains("\"wrk_plant_7\"") && hosts.contains(&PORT.to_string()),
            "{hosts}"
        );
    }
    worker.stop(STOP_MAX)?;
    drop(service);
    Ok(())
}

#[test]
fn the_clusters_policy_travels_with_its_orders_and_an_older_one_is_refused() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(2)? else { return Ok(()) };
    let cluster = Cluster::of_one(lab)?;
    cluster.lab().isolate(PLANT)?;
    let plant = Plant::new()?;
    let job = carry(&cluster, &plant.usb("free.tar.gz"))?;
    let key = cluster_key(&cluster, &plant.usb("again.tar.gz"))?;
    // What is closed now is not begun, whoever asked.
    let freeze = ["window", "add", "freeze", "--blackout", "--from", "2020-01-01T00:00:00Z", "--until"];
    cluster.pentora(1, &[&freeze[..], &["2099-01-01T00:00:00Z"]].concat())?.ok()?;
    let frozen = plant.usb("frozen.tar.gz");
    let said = cluster.pentora(1, &["coordinator", "export", "--output", &frozen])?;
    ensure!(said.stderr.contains("1 rule"), "{said:?}");
    plant.worker(&cluster, &["import", "--file", &frozen, "--trust", &key])?.ok()?;
    let mut worker = plant.start(&cluster)?;
    wait::until("the reason", ORDER_MAX, || Ok(worker.log().contains("blackout `freeze`").then_some(())))?;
    // Orders of before the blackout came are no way around it.
    let older =
        plant.worker(&cluster, &["import", "--file", &plant.usb("free.tar.gz"), "--trust", &key])?.refused(4)?;
    ensure!(older.contains("is older than what is here"), "{older}");
    let orders = &plant.worker(&cluster, &["orders", "--json"])?.json()?;
    ensure!(orders["orders"][0]["kept"] == 0, "{orders}");

    // An exclusion that came after the job did is held to, and what else there is is done.
    cluster.pentora(1, &["window", "remove", "freeze", "--yes"])?.ok()?;
    cluster.pentora(1, &["exclude", "add", "127.0.0.5", "--reason", "plc"])?.ok()?;
    let spared = cluster.lab().host(PLANT).within(|| Ok(TcpListener::bind(("127.0.0.5", PORT))?))?;
    let _found = cluster.lab().host(PLANT).within(|| Ok(TcpListener::bind(("127.0.0.6", PORT))?))?;
    spared.set_nonblocking(true)?;
    let open = plant.usb("open.tar.gz");
    cluster.pentora(1, &["coordinator", "export", "--output", &open])?.ok()?;
    plant.worker(&cluster, &["import", "--file", &open])?.ok()?;
    plant.wait_for(&cluster, 16)?;
    ensure!(spared.accept().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "nobody called");
    plant.worker(&cluster, &["export", "--output", &plant.usb("results.tar.gz")])?.ok()?;
    let plant_key = plant.key(&cluster)?;
    import(&cluster, &plant.usb("results.tar.gz"), &["--trust", &plant_key])?;
    let document = job.document(&cluster, 1)?;
    ensure!(document["not_probed"]["out-of-scope"] == 1, "{document}");
    let hosts = job.results(&cluster, 1, "list")?;
    ensure!(hosts.contains("127.0.0.6") && !hosts.contains("127.0.0.5"), "{hosts}");
    worker.stop(STOP_MAX)?;
    Ok(())
}

#[test]
#[expect(clippy::too_many_lines, reason = "one worker's life, from its first orders to members that began anew")]
fn results_that_are_encrypted_to_their_cluster_are_read_by_each_of_its_members_and_by_nobody_else() -> anyhow::Result<()>
{
    let Some(lab) = Lab::start(4)? else { return Ok(()) };
    let mut cluster = Cluster::of(lab, 3)?;
    cluster.lab().isolate(4)?;
    let plant = Plant::at(4)?;
    let first = carry(&cluster, &plant.usb("orders-1.tar.gz"))?;
    let encrypted = |file: &str, more: &[&str]| {
        plant.worker(&cluster, &[&["export", "--output", &plant.usb(file), "--encrypt"], more].concat())
    };
    let early = encrypted("early.age", &[])?.refused(4)?;
    ensure!(early.contains("no orders were taken in yet") && early.contains("coordinator export"), "{early}");
    let key = cluster_key(&cluster, &plant.usb("again.tar.gz"))?;
    plant.worker(&cluster, &["import", "--file", &plant.usb("orders-1.tar.gz"), "--trust", &key])?.ok()?;
    let mut worker = plant.start(&cluster)?;
    plant.wait_for(&cluster, 16)?;
    let said = encrypted("results-1.tar.gz.age", &[])?;
    ensure!(said.code == 0 && said.stderr.contains("encrypted to age1"), "{said:?}");
    let bytes = fs::read(plant.usb("results-1.tar.gz.age"))?;
    ensure!(bytes.starts_with(b"age-encryption.org/v1\n"));
    ensure!(!bytes.windows(8).any(|part| part == b"manifest" || part == b"plant-7\""), "nothing of it is told");

    // Another's key, a byte that was changed, a file that was cut; and it is no orders.
    let other = "age1zwlyl6h27gzv0lfntr7fcqrjrzqazap8sy5zylkxwneh7llf0dksu37mwt";
    let others = encrypted("other.age", &["--all", "--recipient", other])?;
    ensure!(others.code == 0 && others.stderr.contains("no node reads this file as it is"), "{others:?}");
    let plant_key = plant.key(&cluster)?;
    let half = bytes.len() / 2;
    fs::write(plant.usb("changed.age"), [&bytes[..half], &[bytes[half] ^ 1], &bytes[half + 1..]].concat())?;
    fs::write(plant.usb("cut.age"), &bytes[..half])?;
    fs::write(plant.usb("header.age"), &bytes[..60])?;
    for (file, told) in [
        ("other.age", "another key than this cluster's, which is age1"),
        ("changed.age", "does not decrypt"),
        ("cut.age", "cut short"),
        ("header.age", "cut short"),
    ] {
        let words = ["coordinator", "import", "--file", &plant.usb(file), "--trust", &plant_key];
        let refused = cluster.pentora(1, &words)?.refused(4)?;
        ensure!(refused.contains(told), "{file}: {refused}");
    }
    let listed = &cluster.pentora(1, &["coordinator", "offline", "list", "--json"])?.json()?;
    ensure!(
        status(&cluster, &first)? == "carried" && listed == &serde_json::json!([]),
        "nothing was changed: {listed}"
    );
    let no_orders = plant.worker(&cluster, &["import", "--file", &plant.usb("results-1.tar.gz.age")])?.refused(4)?;
    ensure!(no_orders.contains("it is encrypted"), "{no_orders}");

    // Each member reads it, though another wrote the orders.
    let file = plant.usb("results-1.tar.gz.age");
    let dry = import_on(&cluster, 2, &file, &["--trust", &plant_key, "--dry-run"])?;
    ensure!(dry["targets_counted"] == 16 && status(&cluster, &first)? == "carried", "{dry}");
    import_on(&cluster, 3, &file, &["--trust", &plant_key])?;
    ensure!(status(&cluster, &first)? == "completed");

    // What leaves by itself is encrypted where the file says so, and is read after the members began anew.
    worker.stop(STOP_MAX)?;
    let second = carry(&cluster, &plant.usb("orders-2.tar.gz"))?;
    plant.worker(&cluster, &["import", "--file", &plant.usb("orders-2.tar.gz")])?.ok()?;
    let text = fs::read_to_string(&plant.config)?;
    fs::write(&plant.config, text.replace("export_interval: 1h", "export_interval: 1s\n  encrypt: true"))?;
    let mut worker = plant.start(&cluster)?;
    let file = plant.folder.path().join("usb/pentora-exports/plant-7-000002.tar.gz.age");
    wait::until("a bundle on the medium", ORDER_MAX, || Ok(file.exists().then_some(())))?;
    worker.stop(STOP_MAX)?;
    for member in 1..=3 {
        cluster.restart(member)?;
    }
    wait::until("a leader", ORDER_MAX, || Ok(cluster.leader().ok()))?;
    wait::until("its results", ORDER_MAX, || {
        // Other bundles may follow the first one.
        for number in 2.. {
            let file = plant.folder.path().join(format!("usb/pentora-exports/plant-7-{number:06}.tar.gz.age"));
            if !file.exists() {
                break;
            }
            if import_on(&cluster, 2, &file.display().to_string(), &[]).is_err() {
                return Ok(None);
            }
        }
        Ok((status(&cluster, &second)? == "completed").then_some(()))
    })?;
    Ok(())
}

#[test]
fn a_worker_behind_the_gap_that_asks_for_signed_orders_carries_out_those_alone() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(2)? else { return Ok(()) };
    let cluster = Cluster::of_one(lab)?;
    cluster.lab().isolate(PLANT)?;
    let plant = Plant::new()?;
    let person = |name: &str| -> anyhow::Result<(String, String)> {
        let file = plant.usb(&format!("{name}.key"));
        let line = cluster.pentora(1, &["key", "create", "--name", name, "--output", &file])?.ok()?;
        Ok((file, line.trim().to_owned()))
    };
    let ((alice, trusted), (mallory, _)) = (person("alice")?, person("mallory")?);
    let text = fs::read_to_string(&plant.config)?;
    let signers = format!("  require_signed_orders: true\n  trusted_keys: ['{trusted}']\n");
    fs::write(&plant.config, text.replace("  offline: true\n", &format!("  offline: true\n{signers}")))?;
    let order = |port: &str, more: &[&str]| {
        let words = ["127.0.0.0/28", "--ports", port, "--carry", "--region", "plant", "--no-discovery"];
        Job::submit(&cluster, 1, &[&words[..], more].concat())
    };
    let unsigned = order("8440", &[])?;
    let others = order("8441", &["--sign", "--key", &mallory])?;
    let signed = order("8442", &["--sign", "--key", &alice])?;
    let key = cluster_key(&cluster, &plant.usb("orders.tar.gz"))?;
    plant.worker(&cluster, &["import", "--file", &plant.usb("orders.tar.gz"), "--trust", &key])?.ok()?;
    let mut worker = plant.start(&cluster)?;
    plant.wait_for(&cluster, 16)?;
    wait::until("both reasons", ORDER_MAX, || {
        let log = worker.log();
        Ok((log.contains("nobody signed this one") && log.contains("is not among worker.trusted_keys")).then_some(()))
    })?;
    plant.worker(&cluster, &["export", "--output", &plant.usb("results.tar.gz")])?.ok()?;
    let taken = import(&cluster, &plant.usb("results.tar.gz"), &["--trust", &plant.key(&cluster)?])?;
    ensure!(taken["targets_counted"] == 16, "{taken}");
    let states = [&unsigned, &others, &signed].map(|job| status(&cluster, job));
    let states = states.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    ensure!(states == ["carried", "carried", "completed"], "{states:?}");
    worker.stop(STOP_MAX)?;
    Ok(())
}

#[test]
fn a_standalone_worker_writes_bundles_by_itself_and_never_onto_what_is_no_medium() -> anyhow::Result<()> {
    let Some(lab) = Lab::start(2)? else { return Ok(()) };
    let cluster = Cluster::of_one(lab)?;
    let plant = Plant::new()?;
    carry(&cluster, &plant.usb("orders.tar.gz"))?;
    let key = cluster_key(&cluster, &plant.usb("again.tar.gz"))?;
    plant.worker(&cluster, &["import", "--file", &plant.usb("orders.tar.gz"), "--trust", &key])?.ok()?;
    let text = fs::read_to_string(&plant.config)?;
    fs::write(&plant.config, text.replace("export_interval: 1h", "export_interval: 1s\n  require_mount: true"))?;
    let mut worker = plant.start(&cluster)?;
    plant.wait_for(&cluster, 16)?;
    let refused = plant.worker(&cluster, &["export", "--output", &plant.usb("r.tar.gz")])?;
    let exports = plant.folder.path().join("usb/pentora-exports");
    if is_below_a_mount(plant.folder.path())? {
        refused.ok()?;
    } else {
        ensure!(refused.refused(4)?.contains("nothing is mounted"));
        wait::until("word that the medium is missing", ORDER_MAX, || {
            Ok(worker.log().contains("nothing is mounted").then_some(()))
        })?;
        ensure!(!exports.exists(), "nothing was made in its place");
        worker.stop(STOP_MAX)?;
        let text = fs::read_to_string(&plant.config)?;
        fs::write(&plant.config, text.replace("require_mount: true", "require_mount: false"))?;
        worker = plant.start(&cluster)?;
        let bundle = wait::until("a bundle on the medium", ORDER_MAX, || {
            let path = exports.join("plant-7-000001.tar.gz");
            Ok(path.exists().then_some(path))
        })?;
        let plant_key = plant.key(&cluster)?;
        let taken = import(&cluster, &bundle.display().to_string(), &["--trust", &plant_key])?;
        ensure!(taken["targets_counted"] == 16, "{taken}");
    }
    worker.stop(STOP_MAX)?;
    for words in
        [&["start", "--init"][..], &["join", "--peer", "10.88.0.1:7400", "--token", "pnj_x"], &["server", "start"]]
    {
        let config = plant.config.display().to_string();
        let words = [words, &["--config", &config]].concat();
        let said = pentora(cluster.lab().host(PLANT), plant.folder.path(), &[], &words)?.refused(8)?;
        ensure!(said.contains("standalone"), "{said}");
    }
    Ok(())
}

/// Whether a folder for tests lies on something that is mounted, as a tmpfs is.
fn is_below_a_mount(folder: &Path) -> anyhow::Result<bool> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    Ok(points.filter(|point| *point != "/").any(|point| folder.starts_with(point)))
}
