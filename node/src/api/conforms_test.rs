//! The API's description held against the router, and answers held against the description.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::openapi;
use super::routes::routes;

static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(openapi::document()).unwrap());

/// What is wrong with an answer, by the description; answers of what is no operation are not looked at.
pub(super) fn check(method: &Method, path: &str, status: u16, media_type: &str, body: &str) -> Result<(), String> {
    let Some(operation) = operation(&DESCRIPTION, method, path) else { return Ok(()) };
    let at = format!("{method} {path}: {status}");
    let response = operation["responses"].get(status.to_string()).ok_or_else(|| format!("{at} is not described"))?;
    let Some(content) = response.get("content") else {
        return if body.is_empty() { Ok(()) } else { Err(format!("{at} has a body: {body}")) };
    };
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let schema = content.get(media_type).ok_or_else(|| format!("{at} is of {media_type}, which is not described"))?;
    if !matches!(media_type, "application/json" | "application/problem+json") {
        return Ok(());
    }
    let value = serde_json::from_str(body).map_err(|error| format!("{at}: {error}: {body}"))?;
    fits(&DESCRIPTION, &schema["schema"], &value, &at)
}

/// The operation that a request is for: of the paths that fit, the one with the fewest parameters.
fn operation<'a>(description: &'a Value, method: &Method, path: &str) -> Option<&'a Value> {
    let path = path.split('?').next()?;
    let fits = |template: &str| {
        let (mut given, mut wanted) = (path.split('/'), template.split('/'));
        loop {
            match (given.next(), wanted.next()) {
                (None, None) => return true,
                (Some(given), Some(wanted)) if wanted.starts_with('{') || wanted == given => {}
                _ => return false,
            }
        }
    };
    let paths = description["paths"].as_object()?.iter().filter(|(template, _)| fits(template));
    let (_, item) = paths.min_by_key(|(template, _)| template.matches('{').count())?;
    item.get(method.as_str().to_ascii_lowercase())
}

/// Whether a value is as a schema says: as much of JSON Schema as the description uses.
fn fits(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let wrong = |what: String| Err(format!("{at}: {what}: {value}"));
    let schema = schema.as_object().ok_or_else(|| format!("{at}: {schema} is no schema"))?;
    for word in schema.keys() {
        assert!(KNOWN.contains(&word.as_str()), "{at}: `{word}` is not looked at");
    }
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let target =
            root.pointer(reference.trim_start_matches('#')).ok_or(format!("{at}: {reference} is not there"))?;
        return fits(root, target, value, at);
    }
    let is_one = |kind: &Value| match kind.as_str() {
        Some("null") => value.is_null(),
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        other => panic!("{at}: no type {other:?}"),
    };
    match schema.get("type") {
        Some(Value::Array(kinds)) if !kinds.iter().any(is_one) => return wrong(format!("not one of {kinds:?}")),
        Some(kind @ Value::String(_)) if !is_one(kind) => return wrong(format!("not {kind}")),
        _ => {}
    }
    if schema.get("enum").and_then(Value::as_array).is_some_and(|words| !words.contains(value)) {
        return wrong("not one of the words".into());
    }
    if schema.get("minimum").and_then(Value::as_f64).is_some_and(|least| value.as_f64().is_some_and(|it| it < least)) {
        return wrong("too small".into());
    }
    let all = |key: &str| schema.get(key).and_then(Value::as_array).into_iter().flatten();
    for part in all("allOf") {
        fits(root, part, value, at)?;
    }
    if schema.contains_key("oneOf") {
        let fitting = all("oneOf").filter(|part| fits(root, part, value, at).is_ok()).count();
        if fitting != 1 {
            return wrong(format!("{fitting} alternatives fit: {:?}", schema["oneOf"]));
        }
    }
    if let (Some(items), Value::Array(values)) = (schema.get("items"), value) {
        for (number, item) in values.iter().enumerate() {
            fits(root, items, item, &format!("{at}[{number}]"))?;
        }
    }
    if let Value::Object(fields) = value {
        object(root, schema, fields, at)?;
    }
    Ok(())
}

/// The words of schemas that are looked at, or that say nothing of a value.
const KNOWN: [&str; 20] = [
    "$ref",
    "type",
    "enum",
    "minimum",
    "maximum",
    "allOf",
    "oneOf",
    "items",
    "properties",
    "required",
    "additionalProperties",
    "propertyNames",
    "description",
    "format",
    "default",
    "title",
    "example",
    "minLength",
    "deprecated",
    "contentEncoding",
];

fn object(root: &Value, schema: &Map<String, Value>, fields: &Map<String, Value>, at: &str) -> Result<(), String> {
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            return Err(format!("{at}: {name} is missing in {fields:?}"));
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, value) in fields {
        let at = format!("{at}.{name}");
        match (properties.and_then(|properties| properties.get(name)), schema.get("additionalProperties")) {
            (Some(property), _) => fits(root, property, value, &at)?,
            (None, Some(Value::Bool(false))) => return Err(format!("{at} is not described")),
            (None, Some(of_others @ Value::Object(_))) => fits(root, of_others, value, &at)?,
            // An answer says nothing that its description does not, but for parts of an `allOf`, which know of each other.
            (None, _) => {}
        }
    }
    Ok(())
}

#[test]
fn every_route_is_described_and_nothing_else_is() {
    let table: BTreeSet<(String, String)> = routes()
        .into_iter()
        .map(|route| (route.path.into_owned(), route.method.as_str().to_ascii_lowercase()))
        .collect();
    assert_eq!(table.len(), routes().len(), "a route stands twice");
    let mut described = BTreeSet::new();
    let mut ids = BTreeMap::new();
    for (path, item) in DESCRIPTION["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.insert((path.clone(), method.clone()));
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert_eq!(ids.insert(id.clone(), path), None, "{id} stands twice");
            assert!(operation["summary"].as_str().is_some_and(|says| says.ends_with('.')), "{operation}");
            let answers = operation["responses"].as_object().unwrap();
            assert!(answers.keys().any(|status| status.starts_with('2')), "{method} {path} never succeeds");
        }
    }
    assert_eq!(described, table);
    assert_eq!(DESCRIPTION["openapi"], "3.1.0");
}

#[test]
fn all_that_is_referred_to_is_there_once_and_is_used() {
    let mut used = BTreeSet::new();
    let mut left = vec![&*DESCRIPTION];
    while let Some(value) = left.pop() {
        match value {
            Value::Object(fields) => {
                used.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                left.extend(fields.values());
            }
            Value::Array(values) => left.extend(values),
            _ => {}
        }
    }
    for reference in &used {
        assert!(DESCRIPTION.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    for name in DESCRIPTION["components"]["schemas"].as_object().unwrap().keys() {
        assert!(used.contains(&format!("#/components/schemas/{name}")), "{name} is used nowhere");
    }
}

#[test]
fn what_does_not_fit_its_description_is_noticed() {
    let check = |status, media_type, body: Value| {
        check(&Method::GET, "/api/v1/jobs/job-1/events?after=1", status, media_type, &body.to_string())
    };
    let event =
        json!({"job_id": "job-1", "index": 1, "at": "t", "kind": "k", "message": "m", "worker": null, "unit": null});
    let page = |event: &Value| json!({"items": [event]});
    let changed = |field: &str, value: Value| {
        let mut event = event.clone();
        event[field] = value;
        page(&event)
    };
    check(200, "application/json", page(&event)).unwrap();
    for (status, media_type, body, part) in [
        (200, "text/html", page(&event), "text/html"),
        (418, "application/json", page(&event), "418 is not described"),
        (200, "application/json", json!({}), "items is missing"),
        (200, "application/json", json!({"items": 1}), "not \"array\""),
        (200, "application/json", changed("index", json!("1")), "not \"integer\""),
        (200, "application/json", changed("index", json!(-1)), "too small"),
        (200, "application/json", changed("worker", json!(1)), ".worker"),
        (404, "application/problem+json", json!({"status": "x"}), "status"),
    ] {
        let error = check(status, media_type, body).unwrap_err();
        assert!(error.contains(part), "{part}: {error}");
    }
}

/// Whether an operation takes a parameter.
pub(super) fn takes(method: &Method, path: &str, name: &str) -> bool {
    let parameters = operation(&DESCRIPTION, method, path).and_then(|operation| operation["parameters"].as_array());
    parameters.is_some_and(|parameters| parameters.iter().any(|parameter| parameter["name"] == name))
}
