//! The files of `deploy/` for Kubernetes, Compose and Prometheus: they hang together, say what the original description says, and
//! name nothing that the program does not have. What asks tools about them is in `tests/deploy`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use pentora_tests::binaries::{binary, repository};
use pentora_tests::cluster::Cluster;
use pentora_tests::http::Request;
use pentora_tests::lab::Lab;
use pentora_tests::wait;
use serde_json::{Value, json};

/// A node that runs exports everything within this.
const LIMIT: Duration = Duration::from_secs(30);
/// The original description's Deployment and autoscaler, as they stand there.
const ORIGINAL_DEPLOYMENT: &str = r#"# worker-deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: pentora-worker
spec:
  replicas: 3
  template:
    spec:
      containers:
      - name: pentora-worker
        image: pentora/pentora-enterprise:latest
        env:
        - name: COORDINATOR_URL
          value: "https://pentora-coordinator"
        - name: WORKER_TOKEN
          valueFrom:
            secretKeyRef:
              name: pentora-worker-token
              key: token

---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: pentora-worker-hpa
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: pentora-worker
  minReplicas: 2
  maxReplicas: 20
  metrics:
  - type: Pods
    pods:
      metric:
        name: pentora_queue_depth
      target:
        type: AverageValue
        averageValue: "5"
"#;

fn deploy(path: &str) -> PathBuf {
    repository().join("deploy").join(path)
}

fn text(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(deploy(path)).with_context(|| path.to_owned())
}

/// The documents of a file, each by itself so that an error names it.
fn documents(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let parts =
        text.split("\n---\n").filter(|part| part.lines().any(|line| !line.is_empty() && !line.starts_with('#')));
    parts.map(|part| serde_saphyr::from_str(part).with_context(|| path.display().to_string())).collect()
}

fn of_kind(path: &str, kind: &str) -> anyhow::Result<Value> {
    let all = documents(&deploy(path))?;
    all.into_iter().find(|document| document["kind"] == kind).with_context(|| format!("no {kind} in {path}"))
}

fn yaml_files(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            yaml_files(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending == "yaml") {
            found.push(path);
        }
    }
    Ok(())
}

/// Words of the command line, as far as the program understands them: `--help` behind them ends it before it does anything.
fn is_understood(words: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(binary("pentora")?).args(words).arg("--help").env_clear().output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{words:?}: {said}");
    Ok(())
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn every_yaml_file_of_deploy_is_yaml() -> anyhow::Result<()> {
    let mut files = Vec::new();
    yaml_files(&repository().join("deploy"), &mut files)?;
    assert!(files.len() > 15, "{files:?}");
    for file in files {
        assert!(!documents(&file)?.is_empty(), "{}", file.display());
    }
    Ok(())
}

#[test]
fn scanners_and_their_autoscaler_are_the_originals() -> anyhow::Result<()> {
    assert_eq!(text("kubernetes/base/worker-deployment.yaml")?, ORIGINAL_DEPLOYMENT);
    let patch = of_kind("kubernetes/base/worker-patch.yaml", "Deployment")?;
    let container = &patch["spec"]["template"]["spec"]["containers"][0];
    assert!(
        container.get("env").is_none() && container.get("image").is_none(),
        "the patch leaves what it says: {container}"
    );
    // Its metric of the whole counts what nobody here may take as well: alone it would start as many scanners as may be.
    let scaled = of_kind("kubernetes/components/keda/scaled-object.yaml", "ScaledObject")?;
    let query = scaled["spec"]["triggers"][0]["metadata"]["query"].as_str().context("a query")?;
    assert!(query.starts_with("sum(pentora_queue_depth{") && query.contains(" or clamp_max("), "{query}");
    let spot = of_kind("kubernetes/components/spot/kubernetes-spot-worker.yaml", "Deployment")?;
    let pod = &spot["spec"]["template"]["spec"];
    assert_eq!(pod["nodeSelector"], json!({"node-type": "spot"}));
    assert_eq!(
        pod["tolerations"],
        json!([{"key": "spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"}])
    );
    Ok(())
}

#[test]
fn members_services_budget_and_policy_speak_of_the_same_pods() -> anyhow::Result<()> {
    let members = documents(&deploy("kubernetes/base/members.yaml"))?;
    let set = of_kind("kubernetes/base/members.yaml", "StatefulSet")?;
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&set["spec"]["selector"]["matchLabels"], labels);
    for document in &members {
        let selector = match document["kind"].as_str() {
            Some("Service") => &document["spec"]["selector"],
            Some("PodDisruptionBudget") => &document["spec"]["selector"]["matchLabels"],
            _ => continue,
        };
        assert_eq!(selector, labels, "{document}");
    }
    let spread = &set["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"];
    let apart = &spread["requiredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(
        (&apart["labelSelector"]["matchLabels"], &apart["topologyKey"]),
        (labels, &json!("kubernetes.io/hostname"))
    );
    let worker = of_kind("kubernetes/base/worker-patch.yaml", "Deployment")?;
    let worker_labels = &worker["spec"]["selector"]["matchLabels"];
    assert_eq!(worker_labels, &worker["spec"]["template"]["metadata"]["labels"]);
    let policies = documents(&deploy("kubernetes/base/network-policy.yaml"))?;
    let chosen: Vec<&Value> = policies.iter().map(|policy| &policy["spec"]["podSelector"]["matchLabels"]).collect();
    assert_eq!(chosen, [labels, worker_labels]);

    // The headless service is the one that gives the pods their names, before they are ready.
    let named = &set["spec"]["serviceName"];
    let service =
        members.iter().find(|document| document["kind"] == "Service" && &document["metadata"]["name"] == named);
    let service = service.context("the set's service")?;
    assert_eq!(
        (&service["spec"]["clusterIP"], &service["spec"]["publishNotReadyAddresses"]),
        (&json!("None"), &json!(true))
    );
    // Where scanners look for the coordinator there is one, at the mesh's port.
    let coordinator = members.iter().find(|document| document["metadata"]["name"] == "pentora-coordinator");
    let coordinator = &coordinator.context("pentora-coordinator")?["spec"];
    // A member that is gone, or waits, would keep its part of all connections.
    assert!(coordinator.get("publishNotReadyAddresses").is_none(), "{coordinator}");
    let ports = &coordinator["ports"];
    assert!(ports.as_array().into_iter().flatten().any(|port| port["port"] == 7400), "{ports}");
    Ok(())
}

#[test]
fn no_probe_of_kubernetes_restarts_a_node_for_want_of_a_majority() -> anyhow::Result<()> {
    let set = of_kind("kubernetes/base/members.yaml", "StatefulSet")?;
    let worker = of_kind("kubernetes/base/worker-patch.yaml", "Deployment")?;
    for document in [&set, &worker] {
        let container = &document["spec"]["template"]["spec"]["containers"][0];
        for probe in ["startupProbe", "livenessProbe"] {
            assert_eq!(
                container[probe]["httpGet"],
                json!({"path": "/healthz", "port": "api", "scheme": "HTTPS"}),
                "{probe}"
            );
        }
        assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
        let grace = document["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64();
        assert!(grace.is_some_and(|seconds| seconds >= 45), "a drain of 20 s and an end of 25: {grace:?}");
    }
    Ok(())
}

#[test]
fn the_program_understands_what_pods_and_services_of_compose_ask_of_it() -> anyhow::Result<()> {
    let set = of_kind("kubernetes/base/members.yaml", "StatefulSet")?;
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    is_understood(&words(&container["args"]))?;
    let pre_stop = words(&container["lifecycle"]["preStop"]["exec"]["command"]);
    assert_eq!(pre_stop.first(), Some(&"pentora"));
    is_understood(&pre_stop[1..])?;
    let worker = of_kind("kubernetes/base/worker-patch.yaml", "Deployment")?;
    is_understood(&words(&worker["spec"]["template"]["spec"]["containers"][0]["args"]))?;

    let compose = documents(&deploy("compose.yaml"))?;
    let services = compose[0]["services"].as_object().context("services")?;
    assert_eq!(services.len(), 8, "{:?}", services.keys());
    for (name, service) in services {
        // What is merged in from above stands under `<<`.
        let command = service.get("command").or_else(|| service.get("<<").and_then(|merged| merged.get("command")));
        is_understood(&words(command.with_context(|| format!("{name} has a command"))?)).context(name.clone())?;
    }
    Ok(())
}

#[test]
fn the_configurations_of_members_and_of_the_image_are_right_and_name_what_the_manifests_mount() -> anyhow::Result<()> {
    let check = |path: &str| -> anyhow::Result<()> {
        let mut command = Command::new(binary("pentora")?);
        command.args(["config", "check"]).arg(deploy(path)).env_clear().env("POD_NAME", "pentora-1");
        let output = command.output()?;
        ensure!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    for path in ["kubernetes/base/member.yaml", "kubernetes/overlays/bootstrap/pentora-0.yaml", "image/pentora.yaml"] {
        check(path)?;
    }
    let set = of_kind("kubernetes/base/members.yaml", "StatefulSet")?;
    let replicas = set["spec"]["replicas"].as_u64().context("replicas")?;
    let name = set["metadata"]["name"].as_str().context("a name")?;
    let config = text("kubernetes/base/member.yaml")?;
    let kustomization = documents(&deploy("kubernetes/base/kustomization.yaml"))?;
    let files = words(&kustomization[0]["configMapGenerator"][0]["files"]);
    for number in 0..replicas {
        assert!(config.contains(&format!("\"{name}-{number}.pentora-members:7400\"")), "a peer for each pod");
        assert!(
            files.contains(&format!("{name}-{number}.yaml=member.yaml").as_str()),
            "a file for each pod: {files:?}"
        );
    }
    let mounts = &set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"];
    let mounted = |path: &str| {
        mounts
            .as_array()
            .into_iter()
            .flatten()
            .any(|mount| path.starts_with(mount["mountPath"].as_str().unwrap_or("?")))
    };
    let token = config.lines().find_map(|line| line.trim().strip_prefix("token_file: ")).context("a token file")?;
    assert!(mounted(token) && mounted("/run/secrets/pentora-admin/token"), "{mounts}");
    Ok(())
}

/// Every metric that a text names.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let is_part = |character: char| character.is_ascii_lowercase() || character == '_' || character.is_ascii_digit();
    let names = text.split(|character| !is_part(character)).filter(|word| word.starts_with("pentora_"));
    // A histogram's samples have endings of their own.
    let family = |name: &str| {
        ["_bucket", "_sum", "_count"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name).to_owned()
    };
    names.map(family).collect()
}

#[test]
fn every_metric_that_a_file_of_deploy_or_the_contract_names_is_exported() -> anyhow::Result<()> {
    // The contract's own list, in the names that stand for it.
    const CONTRACT: &str = "pentora_queue_depth pentora_cluster_queue_depth pentora_raft_leader pentora_raft_term \
        pentora_raft_commit_index pentora_raft_apply_lag pentora_leases pentora_units_done pentora_probes_sent \
        pentora_probes_received pentora_probes_lost pentora_chunk_bytes pentora_raft_election_seconds \
        pentora_raft_failover_seconds pentora_http_request_duration_seconds pentora_keep_fresh_share pentora_quorum_margin";
    let Some(lab) = Lab::start(1)? else { return Ok(()) };
    let cluster = Cluster::of_one(lab)?;
    let exported = |name: &str| -> anyhow::Result<bool> {
        let ask = Request { method: "GET", path: "/metrics", ..Request::default() };
        let metrics = cluster.api(1, &ask, LIMIT)?.body;
        Ok(metrics
            .lines()
            .any(|line| line.strip_prefix("# TYPE ").is_some_and(|rest| rest.split(' ').next() == Some(name))))
    };
    let mut named = metrics_in(CONTRACT);
    for file in [
        "kubernetes/base/worker-deployment.yaml",
        "kubernetes/components/keda/scaled-object.yaml",
        "observability/alerts.yaml",
        "observability/dashboard.json",
        "observability/prometheus-adapter.yaml",
    ] {
        let of_file = metrics_in(&text(file)?);
        assert!(!of_file.is_empty(), "{file} names none");
        named.extend(of_file);
    }
    // Told by the leader alone of others than itself.
    named.remove("pentora_clock_ahead_seconds");
    for name in named {
        // What is told only while a leader is known comes with the first heartbeats.
        wait::until(&name, LIMIT, || Ok(exported(&name)?.then_some(())))?;
    }
    serde_json::from_str::<Value>(&text("observability/dashboard.json")?)?;
    Ok(())
}

/// The names of the alerts that lines of a file begin with, behind `before`.
fn alerts_in(text: &str, before: &str) -> Vec<String> {
    let is_part = |character: char| character.is_ascii_alphanumeric();
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix(before));
    lines.map(|rest| rest.chars().take_while(|character| is_part(*character)).collect()).collect()
}

#[test]
fn whoever_is_called_by_an_alert_finds_what_to_do_about_it() -> anyhow::Result<()> {
    let alerts = alerts_in(&text("observability/alerts.yaml")?, "- alert: ");
    assert!(alerts.len() >= 14, "{alerts:?}");
    let page = fs::read_to_string(repository().join("docs/OPERATING.md"))?;
    let section = page.split("\n### Alerts\n").nth(1).context("a section of the alerts")?;
    let section = section.split("\n## ").next().context("its end")?;
    // In the order of the rules, each once, and none of an alert that is not there.
    assert_eq!(alerts_in(section, "| `"), alerts);
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let what = row.split('|').nth(2).context("a second column")?;
        assert!(what.trim().len() > 40, "{row}");
    }
    // What a row names as another section is one.
    for name in section.split('"').skip(1).step_by(2) {
        assert!(page.contains(&format!("\n## {name}\n")), "there is no section {name:?}");
    }
    Ok(())
}
