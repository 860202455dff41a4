//! Who is let in: bearers of a token whose digest is in the log, or of a JWT (`sessions`), each as far as its role goes. Who asked, and from where, travels
//! with the request, and orders go into the audit log before they are carried out.

mod outcome;

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use pentora_raft::command::{AccessRole, Author};
use pentora_raft::state::AccessToken;
use pentora_raft::{Digest, NodeId};

use self::outcome::Pending;
pub(super) use self::outcome::{AlreadyNoted, AskedAs};
use super::access::key_of;
use super::forward::{Gateway, reader};
use super::limits::{Failures, Rates, STRANGERS_A_MINUTE, TOKENS_OF_ONE, TooMany, source_of};
use super::object;
use super::places::Place;
use super::register::{REGISTER, Waiting};
use super::routes::Route;
use super::sessions::{self, LOGIN};
use super::whose::Whose;
use super::{Access, ApiError, Node};
use crate::join::token::{Credential, JoinToken};
use crate::masked::masked;
use crate::sign_in::{Fault, Word, is_jwt, is_person};
use crate::trail::UNASKED;

/// Where a request came from, in words; put beside it by whoever took it off a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameFrom(pub String);

/// Which node handed a request on that it took itself: what is answered goes there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandedOnBy(pub NodeId);

/// What was shown, beside a request: what goes on for long looks whether it is still valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) by: By,
    /// When what was shown ends by itself, where it is not the token.
    pub(super) ends_ms: Option<u64>,
}

/// By what its bearer is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// By the token whose secret has this digest.
    Token(Digest),
    /// By the provider's word, as this.
    Provider(AccessRole, Word),
}

impl Shown {
    fn token(key: Digest) -> Self {
        Self { by: By::Token(key), ends_ms: None }
    }

    /// Whether its bearer is still let in.
    pub(super) fn is_valid(self, node: &Node) -> bool {
        let now_ms = node.raft.now_ms();
        let lets_in = match self.by {
            By::Token(key) => node.raft.read(|state| state.access_token(&key)).is_some_and(|it| it.is_valid(now_ms)),
            By::Provider(_, word) => node.sign_in.holds(word),
        };
        lets_in && self.ends_ms.is_none_or(|ends_ms| ends_ms > now_ms)
    }
}

/// Who showed something that lets in.
pub(super) struct Bearer {
    /// The name of the token, or of the person.
    pub(super) who: String,
    /// What it may do: more than one role where a session was made with another than its token has.
    pub(super) roles: Vec<AccessRole>,
    pub(super) shown: Shown,
}

fn place(request: &Request) -> Option<Arc<Place>> {
    request.extensions().get::<Arc<Place>>().cloned()
}

/// Notes that whoever holds a place may.
fn belongs(place: Option<&Arc<Place>>, whose: &Whose) {
    if let Some(place) = place {
        place.belongs(whose);
    }
}

/// What is asked of whoever comes: a role for each route, and moderation.
#[derive(Debug)]
pub(super) struct Gate {
    node: Node,
    /// By path and method, as the table of routes has them.
    roles: HashMap<String, Vec<(Method, AccessRole)>>,
    failures: Failures,
    rates: Rates,
    /// The same of all tokens that one answers for.
    makers: Rates,
    /// Those without a token, where none is asked for.
    strangers: Rates,
    /// The same of supervisors, whom nobody else at their address is to have a node ended by.
    probes: Rates,
    /// Those that wait for a join token.
    waiting: Waiting,
    /// Whom a node outside the log asks.
    gateway: Gateway,
}

/// Why a request is not let in.
enum Denied {
    /// No token, or none that is known.
    Unknown,
    /// A join token, which is shown to nobody.
    JoinToken,
    /// The token has ended or was revoked.
    Ended(Author),
    /// The token's role does not go so far.
    Role(Author, AccessRole, AccessRole),
    /// Too many requests with it, or with all tokens that somebody answers for.
    Rate(Author, TooMany),
    /// A JWT that is not taken, and whose, where that is known.
    Jwt(Author, Fault),
}

impl Denied {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unknown | Self::JoinToken | Self::Ended(_) => StatusCode::UNAUTHORIZED,
            Self::Role(..) | Self::Jwt(_, Fault::NoRole { .. }) => StatusCode::FORBIDDEN,
            Self::Jwt(..) => StatusCode::UNAUTHORIZED,
            Self::Rate(..) => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    fn author(&self) -> Author {
        match self {
            Self::Unknown | Self::JoinToken => Author::default(),
            Self::Ended(author) | Self::Role(author, ..) | Self::Rate(author, _) | Self::Jwt(author, _) => {
                author.clone()
            }
        }
    }
}

impl Gate {
    pub(super) fn new(gateway: Gateway, routes: &[Route]) -> Self {
        let mut roles = HashMap::<String, Vec<_>>::new();
        for route in routes {
            if let Access::As(role) = route.access {
                roles.entry(route.path.to_string()).or_default().push((route.method.clone(), role));
            }
        }
        let node = Arc::clone(&gateway.node);
        let (failures, rates, makers) = (Failures::default(), Rates::default(), Rates::default());
        let (strangers, probes, waiting) = (Rates::default(), Rates::default(), Waiting::default());
        Self { node, roles, failures, rates, makers, strangers, probes, waiting, gateway }
    }

    /// The role that a request's route needs: the highest, where the table has none.
    fn needed(&self, request: &Request) -> AccessRole {
        let method = if request.method() == Method::HEAD { Method::GET } else { request.method().clone() };
        let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let found = path.and_then(|path| self.roles.get(path)?.iter().find(|(on, _)| *on == method));
        found.map(|(_, role)| *role).unwrap_or(AccessRole::Admin)
    }

    /// Who asks, where they may, and by which token.
    fn admit(&self, request: &Request, needed: AccessRole) -> Result<(Author, Option<Shown>), Denied> {
        let from = || came_from(request).unwrap_or_default().to_owned();
        let author = |who: String| Author { who, from: from() };
        let Some(text) = bearer(request) else { return self.without_a_token(request, from()) };
        let Bearer { who, roles, shown } = if is_jwt(text) {
            sessions::bearer(&self.node, text).map_err(|refused| Denied::Jwt(author(refused.who), refused.fault))?
        } else {
            match self.token(text) {
                None => return self.without_a_token(request, from()),
                Some((_, token)) if !token.is_valid(self.node.raft.now_ms()) => {
                    return Err(Denied::Ended(author(token.name)));
                }
                Some((key, token)) => Bearer { who: token.name, roles: vec![token.role], shown: Shown::token(key) },
            }
        };
        match (self.is_within_rate(&who), roles.iter().find(|role| !role.may(needed))) {
            (Err(too_many), _) => Err(Denied::Rate(author(who), too_many)),
            (Ok(()), Some(has)) => Err(Denied::Role(author(who), *has, needed)),
            (Ok(()), None) => Ok((author(who), Some(shown))),
        }
    }

    /// Whether a token, and whoever answers for it, may make one more request.
    fn is_within_rate(&self, who: &str) -> Result<(), TooMany> {
        let (own, maker) = self.node.raft.read(|state| (state.token_limits(who), state.maker_of(who)));
        let all = self.node.token_rate;
        let own = own.requests_per_minute.map_or(all, |own| own.min(all));
        let too_many = |is_of_maker| move |seconds| TooMany { seconds, is_of_maker };
        self.rates.take(who, own).map_err(too_many(false))?;
        self.makers.take(&maker, all.saturating_mul(TOKENS_OF_ONE)).map_err(too_many(true))
    }

    /// Who shows a token that is known here, of whatever role; anybody where none is asked for.
    pub(super) fn known(&self, request: &Request) -> Option<Author> {
        let known = self.admit(request, AccessRole::Viewer).ok().map(|(author, _)| author)?;
        belongs(place(request).as_ref(), &self.whose(&known));
        Some(known)
    }

    fn whose(&self, author: &Author) -> Whose {
        self.node.raft.read(|state| Whose::of(state, &author.who))
    }

    /// Whether a stranger may ask once more for what needs no token. Whoever is inside this process has no address, and no bound.
    ///
    /// # Errors
    /// After how many seconds they may.
    pub(super) fn may_ask(&self, request: &Request) -> Result<(), u64> {
        let from = came_from(request).unwrap_or_default();
        if from.is_empty() {
            return Ok(());
        }
        let is_probe = matches!(request.uri().path(), "/healthz" | "/readyz");
        let rates = if is_probe { &self.probes } else { &self.strangers };
        rates.take(&source_of(from), STRANGERS_A_MINUTE)
    }

    /// The access token of this secret, with its digest.
    fn token(&self, secret: &str) -> Option<(Digest, AccessToken)> {
        let keys = [key_of(self.node.cluster, secret), Digest::of(secret.as_bytes())];
        // Only digests are compared, so the time it takes tells nothing about a token.
        self.node.raft.read(|state| keys.into_iter().find_map(|key| Some((key, state.access_token(&key)?))))
    }

    /// Whoever shows nothing that is known: let in where nothing is asked for.
    fn without_a_token(&self, request: &Request, from: String) -> Result<(Author, Option<Shown>), Denied> {
        match self.node.access {
            Access::Open => Ok((Author { who: String::new(), from }, None)),
            _ if bearer(request).is_some_and(|token| token.parse::<JoinToken>().is_ok()) => Err(Denied::JoinToken),
            _ => Err(Denied::Unknown),
        }
    }

    fn refuse(&self, request: &Request, denied: Denied) -> Response {
        let (status, author) = (denied.status(), denied.author());
        let from = came_from(request).unwrap_or_default().to_owned();
        if !self.knows_tokens() {
            // It has just joined or starts: no token is known yet, so none may be called wrong.
            let detail = "this node has not caught up with its cluster yet, and knows no token before it has";
            return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "starting", detail).retry_after(1).into_response();
        }
        let action = match status {
            // Who comes without a token chooses the path, so only its kind is kept.
            StatusCode::UNAUTHORIZED => format!("{} /api/v1", request.method()),
            _ => route(request),
        };
        self.refused(&Author { from, ..author }, &action, status).unwrap_or_else(|| answer(&denied))
    }

    /// Notes a request that is not let in. The answer is for an address that comes too often without anything valid.
    fn refused(&self, author: &Author, action: &str, status: StatusCode) -> Option<Response> {
        let too_many = (status == StatusCode::UNAUTHORIZED).then(|| self.failures.note(&author.from)).flatten();
        // An address that was told to wait fills no log.
        if let Some(trail) = self.node.trail.as_ref().filter(|_| too_many.is_none()) {
            trail.refused(author, action, status.as_u16());
        }
        let seconds = too_many?;
        let detail = "too many requests without a valid token came from this address";
        let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_failures", detail);
        Some(error.retry_after(seconds).into_response())
    }

    fn knows_tokens(&self) -> bool {
        self.node.raft.is_outside() || self.node.raft.read(|state| state.cluster().id.is_some())
    }
}

fn answer(denied: &Denied) -> Response {
    let detail = match denied {
        Denied::Role(author, has, needed) => {
            let (who, has, needed) = (&author.who, has.name(), needed.name());
            let what = if is_person(who) { "" } else { "token " };
            let detail = format!("this needs the role {needed}, and {what}`{who}` has the role {has}");
            return ApiError::new(StatusCode::FORBIDDEN, "role_missing", detail).into_response();
        }
        Denied::Rate(author, TooMany { seconds, is_of_maker }) => {
            let what = if is_person(&author.who) { "by" } else { "with token" };
            let others = if *is_of_maker { " and others of whoever answers for it" } else { "" };
            let detail = format!("too many requests {what} `{}`{others}", author.who);
            let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail);
            return error.retry_after(*seconds).into_response();
        }
        Denied::Jwt(_, fault) => {
            let mut response = ApiError::new(denied.status(), fault.code(), fault.to_string()).into_response();
            if denied.status() == StatusCode::UNAUTHORIZED {
                // RFC 6750 section 3.1.
                let asks = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, asks);
            }
            return response;
        }
        Denied::Ended(author) => format!(
            "token `{}` has ended or was revoked; an administrator makes another with `pentora token create`",
            author.who
        ),
        Denied::JoinToken => {
            "a join token is no bearer token, and its secret is never sent: whoever read it on the way could join with it. \
             A worker registers by itself with a proof of it (worker.coordinator and worker.token_file, then \
             `pentora worker start`), and a program with an administrator's token"
                .to_owned()
        }
        Denied::Unknown => {
            "a valid bearer token is needed; the first one is in admin.token in the data directory of the \
                            node that began the cluster"
                .to_owned()
        }
    };
    let mut response = ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", detail).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Lets a request through with its author beside it, or says why not. An order is in the audit log before it is carried out.
pub(super) async fn check(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let node = &gate.node;
    if node.raft.is_outside() && (node.access == Access::Open || bearer(&request).is_some()) {
        // It knows no token: the member that the request is handed to looks at it, before much of it is read here.
        let (place, whose) = (place(&request), reader(&request));
        if let Some(asked) = Gateway::before_its_body(&request)
            && let Err(refused) = gate.gateway.knows(asked).await
        {
            return refused;
        }
        let response = next.run(request).await;
        if response.status().is_success() {
            belongs(place.as_ref(), &whose);
        }
        return response;
    }
    match gate.admit(&request, gate.needed(&request)) {
        Ok(admitted) => carry_out(&gate, admitted, request, next).await,
        Err(denied) => gate.refuse(&request, denied),
    }
}

/// Carries a request out for one who may.
async fn carry_out(
    gate: &Gate,
    (author, shown): (Author, Option<Shown>),
    mut request: Request,
    next: Next,
) -> Response {
    let whose = gate.whose(&author);
    belongs(place(&request).as_ref(), &whose);
    request.extensions_mut().insert(whose);
    if let Some(shown) = shown {
        request.extensions_mut().insert(shown);
    }
    request.extensions_mut().insert(author.clone());
    let takes_all = request.method().is_safe() && takes_all(&request);
    let Some(trail) = gate.node.trail.as_ref().filter(|_| takes_all || !request.method().is_safe()) else {
        return next.run(request).await;
    };
    let action = action(&request);
    if takes_all {
        // Noted behind the fact, as it begins: a backup must be had where there is no majority as well.
        let mut outcome = Pending::new(trail, author, action, UNASKED);
        let response = next.run(request).await;
        outcome.answered(&response);
        return response;
    }
    if request.uri().path() == LOGIN {
        // It changes nothing, and may come more often than the log should grow: noted behind the fact, with others of its kind.
        let response = next.run(request).await;
        trail.came_in(&author, &action, String::new(), response.status().as_u16());
        return response;
    }
    if let Some(error) = object::unreadable(&request) {
        // Nothing could be carried out, so that it is counted as what is refused, and fills no log.
        trail.refused(&author, &route(&request), StatusCode::BAD_REQUEST.as_u16());
        return error.into_response();
    }
    let asked = match trail.asked(&author, &action).await {
        Ok(asked) => asked,
        Err(error) => return ApiError::from(error).into_response(),
    };
    request.extensions_mut().insert(AskedAs { author: author.clone(), action: action.clone(), asked });
    // Whoever hangs up hides nothing: what was asked for may be done all the same.
    let mut outcome = Pending::new(trail, author, action, asked);
    let response = next.run(request).await;
    outcome.answered(&response);
    let (response, object) = object::of(response).await;
    outcome.object = object;
    response
}

/// What changes nothing and takes so much with it that it is noted: all results of a job, all of the state, all that anybody did.
pub(super) const TAKES_ALL: [&str; 3] =
    ["/api/v1/cluster/snapshot", "/api/v1/audit/export", "/api/v1/jobs/{id}/bundle"];

fn takes_all(request: &Request) -> bool {
    request.extensions().get::<MatchedPath>().is_some_and(|path| TAKES_ALL.contains(&path.as_str()))
}

/// The same where a worker may ask as well; whether its credential is good is looked at by the handler, before anything else, and
/// counts as a wrong token does where it is not.
pub(super) async fn check_worker(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    if gate.node.raft.is_outside() && bearer(&request).is_some() {
        return next.run(request).await;
    }
    let shows_credential = bearer(&request).is_some_and(|token| token.parse::<Credential>().is_ok());
    match gate.admit(&request, AccessRole::Admin) {
        Ok(admitted) => carry_out(&gate, admitted, request, next).await,
        // Registering changes nothing, and says which names are taken: an address does so as often as what needs no token.
        Err(_) if shows_credential && gate.may_ask(&request).is_err() => {
            let detail = "too many requests with a worker's credential came from this address";
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(1).into_response()
        }
        Err(_) if shows_credential => {
            let from = came_from(&request).unwrap_or_default().to_owned();
            // One that has come with what is no token is told at once what another is.
            if !gate.failures.has_failed(&from)
                && let Some(waits) = gate.waiting.take(&from)
            {
                request.extensions_mut().insert(waits);
            }
            let (author, action) = (Author { who: String::new(), from }, route(&request));
            let is_registration = request.uri().path() == REGISTER;
            let response = next.run(request).await;
            let status = response.status();
            if status == StatusCode::UNAUTHORIZED {
                let known = gate.knows_tokens().then(|| gate.refused(&author, &action, status));
                return known.flatten().unwrap_or(response);
            }
            let Some(trail) = gate.node.trail.as_ref().filter(|_| is_registration) else { return response };
            if !status.is_success() {
                trail.refused(&author, &action, status.as_u16());
                return response;
            }
            // A worker that came in is noted as a node that joins is; it may come again and again, like a login.
            let (response, object) = object::of(response).await;
            trail.came_in(&author, &action, object, status.as_u16());
            response
        }
        Err(denied) => gate.refuse(&request, denied),
    }
}

/// What of a query makes it another order.
const TOLD: [&str; 2] = ["plan=true", "with_work=true"];

/// What is asked, as the audit log has it: a query may hold what is not for everybody who reads that, and a path a secret that
/// was given for a name. Only what makes another order of it is told.
fn action(request: &Request) -> String {
    let query = request.uri().query().unwrap_or_default();
    let told = query.split('&').find_map(|part| TOLD.into_iter().find(|told| *told == part));
    let (method, path) = (request.method(), masked(request.uri().path()));
    told.map_or_else(|| format!("{method} {path}"), |told| format!("{method} {path}?{told}"))
}

/// The same by its route alone, of which there are few.
fn route(request: &Request) -> String {
    let path = request.extensions().get::<MatchedPath>().map_or("/api/v1", MatchedPath::as_str);
    format!("{} {path}", request.method())
}

fn came_from(request: &Request) -> Option<&str> {
    request.extensions().get::<CameFrom>().map(|from| from.0.as_str())
}

pub(super) fn bearer(request: &Request) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
