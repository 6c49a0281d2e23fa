//! What every call passes before its handler, from the outside in: a span that belongs to the caller's
//! trace, who calls and whether they may, their own limits, admission, the deadline. The span is outermost, so
//! that it also shows who was turned away; the limits of one come before those of all, so that nobody takes the
//! places of others.
//!
//! A tower service and not an interceptor, because interceptors see no answer and cannot wait.

mod admission;
mod deadline;
mod trace;

use std::{
    convert::Infallible,
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tonic::{Code, body::Body, server::NamedService};
use tower::Service;
use tracing::{Instrument, Span};
use waybill_messaging::TraceContext;

use self::admission::Admission;
use crate::{
    accept::Origin,
    auth::{Auth, Caller, Place},
};

pub(crate) type Request = http::Request<Body>;
pub(crate) type Response = http::Response<Body>;

/// A gRPC service behind the edge.
#[derive(Clone)]
pub(crate) struct Edge<S> {
    inner: S,
    admission: Arc<Admission>,
    auth: Arc<Auth>,
}

/// What the edge knows of a call, for its handler.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Its span.
    pub(crate) span: Span,
    /// Context of the span, or the caller's where no tracer runs: what messages are created in.
    pub(crate) trace: TraceContext,
    /// When the caller gives up.
    pub(crate) deadline: Option<Instant>,
    /// Who makes it.
    pub(crate) caller: Arc<Caller>,
    /// Held until the call, and for a stream the stream, has ended.
    _places: Option<Arc<(OwnedSemaphorePermit, Place)>>,
}

impl<S> Edge<S> {
    /// `most` unary calls and `most` streams at the same time.
    pub(crate) fn new(inner: S, most: u32, auth: &Arc<Auth>) -> Self {
        Self { inner, admission: Arc::new(Admission::new(most)), auth: Arc::clone(auth) }
    }
}

impl<S: NamedService> NamedService for Edge<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request> for Edge<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // The one that said it was ready is the one to be called.
        let next = self.inner.clone();
        let inner = mem::replace(&mut self.inner, next);
        let (admission, auth) = (Arc::clone(&self.admission), Arc::clone(&self.auth));
        Box::pin(async move { Ok(handle(inner, &admission, &auth, request).await) })
    }
}

async fn handle<S>(inner: S, admission: &Admission, auth: &Auth, mut request: Request) -> Response
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let arrived = Instant::now();
    let is_stream = admission::is_stream(request.uri().path());
    let (span, trace) = trace::begin(&request);
    let through = async {
        let caller = auth.admit(request.uri().path(), request.headers(), request.extensions()).await?;
        trace::called_by(&span, &caller);
        let place = caller.enter(is_stream)?;
        let permit = admission.enter(is_stream).inspect_err(|_| auth.is_full())?;
        let deadline = deadline::take(request.headers_mut(), arrived)?;
        let places = Some(Arc::new((permit, place)));
        let call = Call { span: span.clone(), trace, deadline, caller, _places: places };
        request.extensions_mut().insert(call);
        deadline::hold(deadline, inner, request).await
    };
    let response = match through.instrument(span.clone()).await {
        Ok(response) => response,
        Err(status) => status.into_http(),
    };
    trace::answered(&span, response.headers(), is_stream);
    response
}

impl Call {
    /// What the edge left with a request.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_else(|| Self {
            span: Span::none(),
            trace: TraceContext::default(),
            deadline: None,
            caller: Arc::new(Caller::unknown()),
            _places: None,
        })
    }

    /// What a request that it brings comes with.
    pub(crate) fn origin(&self) -> Origin {
        Origin { trace: self.trace.clone(), caller: Arc::clone(&self.caller) }
    }

    /// Waits for the deadline; for ever where there is none.
    pub(crate) async fn expired(&self) {
        match self.deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }

    /// Says how a stream ended, whose status comes after its headers.
    pub(crate) fn ended(&self, code: Code) {
        trace::record(&self.span, code);
    }
}
