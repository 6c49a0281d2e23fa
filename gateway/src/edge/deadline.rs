//! The caller's deadline, answered with the status that the protocol gives it.

use std::{convert::Infallible, future::poll_fn, pin::pin, task::Poll, time::Duration};

use http::HeaderMap;
use tokio::time::Instant;
use tonic::Status;
use tower::Service;

use super::{Request, Response};
use crate::status;

const HEADER: &str = "grpc-timeout";

/// When a caller that arrived then will give up. The header is removed: nobody further in counts again.
pub(super) fn take(headers: &mut HeaderMap, arrived: Instant) -> Result<Option<Instant>, Status> {
    let Some(value) = headers.remove(HEADER) else { return Ok(None) };
    let timeout = value.to_str().ok().and_then(parse).ok_or_else(|| {
        Status::invalid_argument("grpc-timeout must be 1 to 8 digits and a unit of H, M, S, m, u or n")
    })?;
    // Beyond what the clock can express is no deadline.
    Ok(arrived.checked_add(timeout))
}

/// Source: gRPC over HTTP2, "Requests", rule Timeout.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_hours(count),
        "M" => Duration::from_mins(count),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Calls `inner` and gives up at the deadline. The handler is dropped then; what it has handed to the
/// committers goes on. A stream is held to its deadline by its own task.
pub(super) async fn hold<S>(
    deadline: Option<Instant>,
    mut inner: S,
    request: Request,
) -> Result<Response, Status>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    let mut call = pin!(inner.call(request));
    let Some(deadline) = deadline else {
        let Ok(response) = call.await;
        return Ok(response);
    };
    let mut timer = pin!(tokio::time::sleep_until(deadline));
    poll_fn(|cx| {
        if let Poll::Ready(Ok(response)) = call.as_mut().poll(cx) {
            return Poll::Ready(Ok(response));
        }
        // The clock is asked as well: timers of the same millisecond go off in any order.
        if timer.as_mut().poll(cx).is_ready() || Instant::now() >= deadline {
            return Poll::Ready(Err(status::deadline_exceeded()));
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_understood() {
        let cases = [
            ("1H", Duration::from_hours(1)),
            ("2M", Duration::from_mins(2)),
            ("3S", Duration::from_secs(3)),
            ("4m", Duration::from_millis(4)),
            ("5u", Duration::from_micros(5)),
            ("6n", Duration::from_nanos(6)),
            ("0S", Duration::ZERO),
            ("99999999H", Duration::from_hours(99_999_999)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_the_protocol_forbids_is_refused() {
        for text in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", "123456789m", "1 S", "1ü", "ü"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_header_is_removed() {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, "1S".parse().unwrap());
        let now = Instant::now();
        assert_eq!(take(&mut headers, now).unwrap(), Some(now + Duration::from_secs(1)));
        assert!(headers.is_empty());
        assert_eq!(take(&mut headers, now).unwrap(), None);
    }
}
