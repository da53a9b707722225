use super::*;

/// Silence counts from the last answer to anything, and no call goes on for ever.
#[test]
fn deadlines() {
    let start = crate::timers::origin();
    let mut client = Client::new(start);
    assert_eq!(client.poll_timeout(), Some(start + GREETING));
    assert!(client.check(start).is_ok());
    let late = client.check(start + GREETING);
    assert_eq!(late.unwrap_err().to_string(), "no answer to HTTP/2 within 2 s");
    client.is_ready = true;
    assert_eq!(client.poll_timeout(), None);
    let limits = Limits { silence: Duration::from_millis(1500), total: Duration::from_secs(3), message: 9 };
    let call = Call { service: "a.B", method: "C", limits, request: vec![1, 2, 3] };
    client.call(start, &call);
    assert_eq!(client.poll_timeout(), Some(start + limits.silence));
    client.progress(start + Duration::from_secs(1));
    assert_eq!(client.poll_timeout(), Some(start + Duration::from_millis(2500)));
    client.progress(start + Duration::from_secs(2));
    assert_eq!(client.poll_timeout(), Some(start + limits.total));
    let late = client.check(start + limits.total);
    assert_eq!(late.unwrap_err().to_string(), "no answer to C within 3 s");
}
