//! Spans as a collector takes them: OTLP 1.x in JSON (opentelemetry.io/docs/specs/otlp, "JSON Protobuf Encoding"): ids in
//! hexadecimal, 64-bit numbers as texts.

use pentora_raft::{ClusterId, NodeId};
use serde_json::{Value, json};

use super::place::trace_id;
use super::{Fact, Place, Span};

/// The longest text of a fact or a fault, in bytes. Ours: a few lines of a terminal.
const TEXT_BYTES_MAX: usize = 512;
/// `SPAN_KIND_INTERNAL`.
const KIND_INTERNAL: u8 = 1;
/// `SPAN_KIND_SERVER`.
const KIND_SERVER: u8 = 2;
/// `STATUS_CODE_ERROR`.
const STATUS_ERROR: u8 = 2;

/// Whose spans they are.
#[derive(Debug, Clone)]
pub struct Teller {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
    /// What people call it.
    pub name: String,
}

impl Teller {
    /// The body of one request.
    pub(super) fn body(&self, spans: &[Span]) -> Vec<u8> {
        let spans: Vec<Value> = spans.iter().map(|span| self.span(span)).collect();
        let resource = [
            ("service.name", Fact::from("pentora")),
            ("service.version", env!("CARGO_PKG_VERSION").into()),
            ("service.instance.id", self.name.as_str().into()),
            ("pentora.cluster", self.cluster.to_string().into()),
            ("node", self.node.into()),
        ];
        let scope = json!({"name": "pentora", "version": env!("CARGO_PKG_VERSION")});
        let body = json!({"resourceSpans": [{
            "resource": {"attributes": attributes(&resource)},
            "scopeSpans": [{"scope": scope, "spans": spans}],
        }]});
        body.to_string().into_bytes()
    }

    fn span(&self, span: &Span) -> Value {
        let trace = trace_id(self.cluster, span.job);
        let kind = if matches!(span.place, Place::Submit(_)) { KIND_SERVER } else { KIND_INTERNAL };
        let facts = [attributes(&[("job", Fact::from(span.job.to_string()))]), attributes(&span.facts)].concat();
        let mut document = json!({
            "traceId": hex::encode(trace),
            "spanId": hex::encode(span.place.span_id(trace)),
            "name": span.place.name(),
            "kind": kind,
            "startTimeUnixNano": span.began_ns.to_string(),
            // Clocks are set back at times, and a span that ends before it begins is refused.
            "endTimeUnixNano": span.ended_ns.max(span.began_ns).to_string(),
            "attributes": facts,
        });
        let parent = span.place.parent_id(trace).map(|parent| ("parentSpanId", hex::encode(parent).into()));
        let status = span.fault.as_ref().map(|fault| ("status", json!({"code": STATUS_ERROR, "message": cut(fault)})));
        if let Some(fields) = document.as_object_mut() {
            fields.extend(parent.into_iter().chain(status).map(|(name, value)| (name.to_owned(), value)));
        }
        document
    }
}

fn attributes(facts: &[(&'static str, Fact)]) -> Vec<Value> {
    let value = |fact: &Fact| match fact {
        Fact::Text(text) => json!({"stringValue": cut(text)}),
        Fact::Count(count) => json!({"intValue": i64::try_from(*count).unwrap_or(i64::MAX).to_string()}),
    };
    facts.iter().map(|(key, fact)| json!({"key": key, "value": value(fact)})).collect()
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use pentora_raft::JobId;

    use super::*;

    #[test]
    fn a_span_is_written_as_the_protocols_json_wants_it() {
        let teller = Teller { cluster: ClusterId([1; 16]), node: 3, name: "n3".into() };
        let spans = [
            Span {
                job: JobId(7),
                place: Place::Plan(9),
                began_ns: 1_700_000_000_000_000_001,
                ended_ns: 1_700_000_000_000_000_000,
                facts: vec![("leases", 2.into())],
                fault: Some("ä".repeat(TEXT_BYTES_MAX)),
            },
            Span { job: JobId(7), place: Place::Job, began_ns: 1, ended_ns: 2, facts: Vec::new(), fault: None },
        ];
        let body: Value = serde_json::from_slice(&teller.body(&spans)).unwrap();
        let resource = &body["resourceSpans"][0]["resource"]["attributes"];
        assert_eq!(resource[0], json!({"key": "service.name", "value": {"stringValue": "pentora"}}));
        let told = &body["resourceSpans"][0]["scopeSpans"][0]["spans"];
        let (plan, job) = (&told[0], &told[1]);
        assert_eq!((plan["traceId"].as_str().unwrap().len(), plan["spanId"].as_str().unwrap().len()), (32, 16));
        assert_eq!((&plan["traceId"], &plan["parentSpanId"]), (&job["traceId"], &job["spanId"]));
        assert_eq!(job.get("parentSpanId"), None);
        let times = (&plan["startTimeUnixNano"], &plan["endTimeUnixNano"]);
        assert_eq!(times, (&"1700000000000000001".into(), &"1700000000000000001".into()), "a clock that was set back");
        let attributes = json!([
            {"key": "job", "value": {"stringValue": "job-000007"}},
            {"key": "leases", "value": {"intValue": "2"}},
        ]);
        assert_eq!(plan["attributes"], attributes);
        assert_eq!((plan["status"]["code"].as_u64(), job.get("status")), (Some(2), None));
        assert_eq!(plan["status"]["message"].as_str().unwrap().len(), TEXT_BYTES_MAX);
    }
}
