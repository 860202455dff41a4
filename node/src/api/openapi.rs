//! The API's description of itself (OpenAPI 3.1): the table of routes says what each takes and answers, and the types that
//! travel say how that looks. Nothing is described beside them, so nothing else can be said than what is served.
//!
//! What every route of a kind may answer is added here once: refusals by the door, by the log, and of bodies.

use axum::http::Method;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, Paths};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{Array, KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, Required, Response,
    ResponseBuilder, Schema,
};
use utoipa::{PartialSchema, ToSchema};

use super::Access;
use super::freshness::CONSISTENCY;
use super::paging::{LIMIT_DEFAULT, LIMIT_MAX};
use super::routes::{Route, routes};
use crate::document::Problem;

/// JSON, as its media type.
const JSON: &str = "application/json";
/// Errors, as their media type (RFC 9457).
const PROBLEM: &str = "application/problem+json";
/// How the bearer token is called in the document.
const TOKEN: &str = "token";

/// What a route takes and answers, beside what all of its kind do.
pub(super) struct Operation {
    says: &'static str,
    query: Vec<Parameter>,
    body: Option<RequestBody>,
    answers: Vec<(u16, Response)>,
    refusals: Vec<u16>,
    /// The types that are referred to.
    schemas: Vec<(String, RefOr<Schema>)>,
}

/// An operation that does what a sentence says.
pub(super) fn says(says: &'static str) -> Operation {
    let (query, answers, refusals, schemas) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    Operation { says, query, body: None, answers, refusals, schemas }
}

impl Operation {
    /// What may stand in its query, beside what every route takes.
    pub(super) fn query_names(&self) -> impl Iterator<Item = &str> {
        let in_query = self.query.iter().filter(|parameter| parameter.parameter_in == ParameterIn::Query);
        in_query.map(|parameter| parameter.name.as_str())
    }

    /// It takes a document.
    pub(super) fn takes<T: ToSchema>(self) -> Self {
        self.body::<T>(Required::True)
    }

    /// It takes a document, or nothing.
    pub(super) fn may_take<T: ToSchema>(self) -> Self {
        self.body::<T>(Required::False)
    }

    fn body<T: ToSchema>(mut self, required: Required) -> Self {
        let content = ContentBuilder::new().schema(Some(self.reference::<T>())).build();
        self.body = Some(RequestBodyBuilder::new().required(Some(required)).content(JSON, content).build());
        self
    }

    /// It takes bytes.
    pub(super) fn takes_bytes(mut self, media_type: &str) -> Self {
        let content = ContentBuilder::new().schema(Some(bytes())).build();
        self.body = Some(RequestBodyBuilder::new().required(Some(Required::True)).content(media_type, content).build());
        self
    }

    /// It answers with a document.
    pub(super) fn answers<T: ToSchema>(mut self, status: u16, what: &str) -> Self {
        let content = ContentBuilder::new().schema(Some(self.reference::<T>())).build();
        self.answer(status, ResponseBuilder::new().description(what).content(JSON, content))
    }

    /// It answers with a part of a list.
    pub(super) fn lists<T: ToSchema>(mut self) -> Self {
        let items = Array::new(self.reference::<T>());
        let page = ObjectBuilder::new().property("items", items).required("items").property(
            "next",
            ObjectBuilder::new()
                .schema_type(Type::String)
                .description(Some("The cursor for `after` where more follows; absent in the last part.")),
        );
        let limit = integer().minimum(Some(1)).maximum(Some(u32::try_from(LIMIT_MAX).unwrap_or(u32::MAX)));
        let limit = limit.default(Some(LIMIT_DEFAULT.into()));
        let content = ContentBuilder::new().schema(Some(page)).build();
        self.asks("limit", limit, "Entries at most.")
            .asks("after", string(), "Behind which entry: `next` of the part before.")
            .answer(200, ResponseBuilder::new().description("A part of the list.").content(JSON, content))
    }

    /// It answers with something else than JSON.
    pub(super) fn answers_text(self, media_type: &str, what: &str) -> Self {
        let content = ContentBuilder::new().schema(Some(string())).build();
        self.answer(200, ResponseBuilder::new().description(what).content(media_type, content))
    }

    /// It answers with bytes.
    pub(super) fn answers_bytes(self, media_type: &str, what: &str) -> Self {
        let content = ContentBuilder::new().schema(Some(bytes())).build();
        self.answer(200, ResponseBuilder::new().description(what).content(media_type, content))
    }

    /// Its list comes as server-sent events where the request accepts these: one each, behind the last id that was read.
    pub(super) fn streams(mut self) -> Self {
        let events = ContentBuilder::new().schema(Some(string())).build();
        if let Some((_, listed)) = self.answers.iter_mut().find(|(status, _)| *status == 200) {
            listed.content.insert("text/event-stream".to_owned(), events);
        }
        let last = ParameterBuilder::new()
            .name("Last-Event-ID")
            .parameter_in(ParameterIn::Header)
            .description(Some(
                "Of a stream: the `id` that was read last, from whatever node; goes before `after`. One that is ahead of the \
                 cluster's log is 409, `event_ahead`; one that this node does not come to within five seconds 503, `behind`; one \
                 behind which the cluster's own events are kept no more 410, `events_gone`.",
            ))
            .schema(Some(string()))
            .build();
        self.query.push(last);
        let over = "Of a stream: there is nothing behind that, and there will not be.";
        self.answer(204, ResponseBuilder::new().description(over)).refuses(&[409, 410])
    }

    /// It answers with nothing where whoever asks has it already.
    pub(super) fn answers_unchanged(self) -> Self {
        let what = "It is what `If-None-Match` names, by its `ETag`.";
        self.answer(304, ResponseBuilder::new().description(what))
    }

    /// It answers with nothing but that it is done.
    pub(super) fn answers_done(self) -> Self {
        self.answer(204, ResponseBuilder::new().description("It is done."))
    }

    /// A word of the query.
    pub(super) fn asks(mut self, name: &str, schema: ObjectBuilder, what: &str) -> Self {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query).schema(Some(schema));
        self.query.push(parameter.description(Some(what)).build());
        self
    }

    /// Statuses of problems beside those that all of its kind may answer.
    pub(super) fn refuses(mut self, statuses: &[u16]) -> Self {
        self.refusals.extend(statuses);
        self
    }

    fn answer(mut self, status: u16, response: ResponseBuilder) -> Self {
        self.answers.push((status, response.build()));
        self
    }

    fn reference<T: ToSchema>(&mut self) -> Ref {
        self.schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(&mut self.schemas);
        Ref::from_schema_name(T::name())
    }
}

/// A text.
pub(super) fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// One of some words.
pub(super) fn word(words: &[&str]) -> ObjectBuilder {
    string().enum_values(Some(words.iter().copied()))
}

/// A number from 0 on.
pub(super) fn integer() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0))
}

/// Yes or no.
pub(super) fn boolean() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Boolean)
}

fn bytes() -> ObjectBuilder {
    string().format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
}

/// The description of all routes.
pub(super) fn document() -> OpenApi {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token of the cluster; the first is in `admin.token` of the node that began it."));
    let mut components = ComponentsBuilder::new()
        .security_scheme(TOKEN, SecurityScheme::Http(bearer.build()))
        .schema(Problem::name(), Problem::schema());
    let mut paths = Paths::new();
    for route in routes() {
        let Route { access, method, path, says, .. } = route;
        let method = http_method(&method);
        components = components.schemas_from_iter(says.schemas.clone());
        let operation = says.build(access, &method, &path);
        paths.add_path_operation(path, vec![method], operation);
    }
    let info = InfoBuilder::new()
        .title("Pentora")
        .description(Some("Every node answers the same. Errors are `application/problem+json` with a stable `code`."))
        .version(env!("CARGO_PKG_VERSION"));
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components.build())).build()
}

fn http_method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

impl Operation {
    fn build(self, access: Access, method: &HttpMethod, path: &str) -> OperationBuilder {
        let reads = *method == HttpMethod::Get;
        let mut operation = OperationBuilder::new().summary(Some(self.says)).operation_id(Some(id(method, path)));
        let in_path: Vec<&str> = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let mut refusals = self.refusals;
        // What a browser asks of itself, what is no HTTP and what comes too often is refused anywhere.
        refusals.extend([400, 403, 429]);
        if access != Access::Open {
            refusals.extend([401, 503]);
            refusals.extend((!in_path.is_empty()).then_some(404));
        }
        if !reads {
            // By the log, by what it is, and because bodies are read whatever a route makes of them.
            refusals.extend([409, 422, 408, 413, 415]);
        }
        let in_path = in_path.into_iter().map(|name| {
            let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path);
            parameter.required(Required::True).schema(Some(string().min_length(Some(1)))).build()
        });
        let fresh = (access != Access::Open).then(freshness).into_iter().flatten();
        for parameter in in_path.chain(self.query).chain(fresh) {
            operation = operation.parameter(parameter);
        }
        refusals.sort_unstable();
        refusals.dedup();
        for (status, response) in self.answers {
            operation = operation.response(status.to_string(), response);
        }
        for status in refusals {
            operation = operation.response(status.to_string(), problem(status));
        }
        let security = match access {
            Access::Open => SecurityRequirement::default(),
            _ => SecurityRequirement::new::<_, [&str; 0], &str>(TOKEN, []),
        };
        operation.request_body(self.body).security(security)
    }
}

/// What may stand in the query of every route behind the door.
pub(super) const OF_EVERY_ROUTE: [&str; 2] = ["min_index", "consistency"];

/// What every route behind the door takes: see `freshness`.
fn freshness() -> [Parameter; 2] {
    let parameter = |name: &str, schema: ObjectBuilder, what: &str| {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query).schema(Some(schema));
        parameter.description(Some(what)).build()
    };
    [
        parameter(
            "min_index",
            integer(),
            "Answer once this node has applied the log up to here, as `Pentora-Index` tells it.",
        ),
        parameter("consistency", word(&CONSISTENCY), "How fresh the answer is to be."),
    ]
}

fn problem(status: u16) -> Response {
    let title = axum::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
    ResponseBuilder::new().description(title.unwrap_or("Error")).content(PROBLEM, content).build()
}

/// A name for programs: `get_jobs_id_events`.
fn id(method: &HttpMethod, path: &str) -> String {
    let method = match method {
        HttpMethod::Post => "post",
        HttpMethod::Put => "put",
        HttpMethod::Patch => "patch",
        HttpMethod::Delete => "delete",
        _ => "get",
    };
    let path = path.trim_start_matches("/api/v1");
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    std::iter::once(method).chain(words).collect::<Vec<_>>().join("_")
}
