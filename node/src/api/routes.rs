//! What a route is: who is let in, what carries it out, and what it takes and answers. `rows` has them all.
//!
//! The router is made of those rows and of nothing else, and so are the API's description (`openapi`) and the test that asks
//! for a token. A client's method for each is held by a test as well.

mod rows;

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};

pub(super) use self::rows::routes;
use super::listeners::Listeners;
use super::openapi::{OF_EVERY_ROUTE, Operation};
use super::shares::Shares;
use super::{Access, ApiError, Node, body, forward, register};

/// A row of the table of routes.
pub(super) struct Route {
    pub(super) access: Access,
    /// Whether its body is read by its handler, piece by piece, because it may be larger than memory should be.
    pub(super) streams: bool,
    /// Whether its body may be large: targets, feeds, and what holds lists of targets.
    pub(super) takes_large: bool,
    /// Whether it is about the node that is asked, so that one which only scans does not hand it to a member.
    is_own: bool,
    pub(super) method: Method,
    pub(super) path: Cow<'static, str>,
    /// What it takes and answers.
    pub(super) says: Operation,
    /// Puts the handler behind the method.
    handler: Box<dyn FnOnce(MethodFilter) -> MethodRouter<Node>>,
}

impl Route {
    fn new<H: Handler<T, Node>, T: 'static>(
        access: impl Into<Access>,
        method: Method,
        path: impl Into<Cow<'static, str>>,
        handler: H,
        says: Operation,
    ) -> Self {
        let handler = Box::new(|method| on(method, handler));
        let access = access.into();
        // Whoever has no token is answered by the node that is asked.
        let is_own = access == Access::Open;
        Self { access, streams: false, takes_large: false, is_own, method, path: path.into(), says, handler }
    }

    fn streamed(self) -> Self {
        Self { streams: true, is_own: true, ..self }
    }

    fn large(self) -> Self {
        Self { takes_large: true, ..self }
    }

    fn of_the_node_asked(self) -> Self {
        Self { is_own: true, ..self }
    }

    /// Has a node that only scans ask a member: to carry the request out, or where it is the node's own, whether the token
    /// is known.
    pub(super) fn handed_on(
        self,
        node: &Node,
        (places, streams, silent): (&Shares, &Listeners, &forward::Silent),
    ) -> Self {
        let body_max = if self.access == Access::Worker { register::REQUEST_BYTES_MAX } else { body::BODY_BYTES_MAX };
        let (node, places, streams, silent) = (Arc::clone(node), places.clone(), streams.clone(), silent.clone());
        let gateway = forward::Gateway { node, places, streams, silent, body_max };
        let handler: Box<dyn FnOnce(MethodFilter) -> MethodRouter<Node>> =
            match (self.access, self.streams, self.is_own) {
                (Access::Open, _, _) | (_, true, _) => self.handler,
                (_, false, true) => Box::new(|method| {
                    (self.handler)(method).route_layer(from_fn_with_state(gateway, forward::once_let_in))
                }),
                (_, false, false) => Box::new(|method| {
                    (self.handler)(method).route_layer(from_fn_with_state(gateway, forward::to_member))
                }),
            };
        Self { handler, ..self }
    }

    pub(super) fn add_to(self, router: Router<Node>) -> Router<Node> {
        let method = MethodFilter::try_from(self.method).expect("the table has HTTP's own methods only");
        let handler = (self.handler)(method);
        // Probes and scrapers add what they like.
        if self.access == Access::Open {
            return router.route(&self.path, handler);
        }
        let names = self.says.query_names().map(str::to_owned).chain(OF_EVERY_ROUTE.map(str::to_owned)).collect();
        router.route(&self.path, handler.route_layer(from_fn_with_state(Arc::new(names), known_query)))
    }
}

/// One that reads.
fn get<H: Handler<T, Node>, T: 'static>(
    access: impl Into<Access>,
    path: impl Into<Cow<'static, str>>,
    handler: H,
    says: Operation,
) -> Route {
    Route::new(access, Method::GET, path, handler, says)
}

/// One that orders.
fn post<H: Handler<T, Node>, T: 'static>(
    access: impl Into<Access>,
    path: impl Into<Cow<'static, str>>,
    handler: H,
    says: Operation,
) -> Route {
    Route::new(access, Method::POST, path, handler, says)
}

/// One that puts something in a place.
fn put<H: Handler<T, Node>, T: 'static>(
    access: impl Into<Access>,
    path: impl Into<Cow<'static, str>>,
    handler: H,
    says: Operation,
) -> Route {
    Route::new(access, Method::PUT, path, handler, says)
}

/// One that changes something.
fn patch<H: Handler<T, Node>, T: 'static>(
    access: impl Into<Access>,
    path: impl Into<Cow<'static, str>>,
    handler: H,
    says: Operation,
) -> Route {
    Route::new(access, Method::PATCH, path, handler, says)
}

/// One that takes something away.
fn delete<H: Handler<T, Node>, T: 'static>(
    access: impl Into<Access>,
    path: impl Into<Cow<'static, str>>,
    handler: H,
    says: Operation,
) -> Route {
    Route::new(access, Method::DELETE, path, handler, says)
}

/// Refuses what the route does not know in a query: `?Plan=true` is no plan, and must not become a scan.
async fn known_query(State(names): State<Arc<Vec<String>>>, request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let keys = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split('=').next().unwrap_or(pair));
    for key in keys {
        if !names.iter().any(|name| name == key) {
            let detail =
                format!("`{key}` is nothing that this route takes in its query; it takes {}", names.join(", "));
            return ApiError::bad_request(detail).into_response();
        }
    }
    next.run(request).await
}
