//! The part of HTTP/1.1 (RFC 9112) that a page of metrics needs: one request without a body, one response, and the end of
//! the connection.
//!
//! [`Request::receive`] takes bytes until it returns `Ok(true)`; [`Request::target`] then tells what is asked for, and
//! [`response`] formats the answer, after which the connection is closed.

/// A request, as far as it was received.
#[derive(Debug, Default)]
pub struct Request {
    bytes: Vec<u8>,
}

/// A request that is longer than any that makes sense.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooLong;

impl Request {
    /// Takes received bytes; returns whether the header section is complete.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<bool, TooLong> {
        if self.bytes.len() >= MAX_REQUEST {
            return Err(TooLong);
        }
        self.bytes.extend_from_slice(bytes);
        // Searched from the start: the end may lie across two reads, and requests are short.
        Ok(self.bytes.windows(END.len()).any(|window| window == END))
    }

    /// Returns the request target of a GET, such as `/metrics`; `None` for another method.
    pub fn target(&self) -> Option<&[u8]> {
        let rest = self.bytes.strip_prefix(b"GET ")?;
        // RFC 9112 section 3: the target ends at a space, behind which the version stands.
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        Some(&rest[..end])
    }
}

/// The status of a response (RFC 9110 section 15).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Status {
    MethodNotAllowed,
    NotFound,
    Ok,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::NotFound => "404 Not Found",
            Self::Ok => "200 OK",
        }
    }
}

/// Formats a response, after which the connection ends.
pub fn response(status: Status, content_type: &str, body: &str) -> Vec<u8> {
    let (line, length) = (status.line(), body.len());
    format!(
        "HTTP/1.1 {line}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The end of a header section.
const END: &[u8] = b"\r\n\r\n";

/// Bytes of a request before no more are taken.
const MAX_REQUEST: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let table: [(&str, Option<&str>); 6] = [
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Some("/metrics")),
            ("GET / HTTP/1.0\r\n\r\n", Some("/")),
            ("GET /a?b HTTP/1.1\r\n\r\n", Some("/a?b")),
            ("POST /metrics HTTP/1.1\r\n\r\n", None),
            ("get / HTTP/1.1\r\n\r\n", None),
            ("\r\n\r\n", None),
        ];

        for (text, target) in table {
            let mut request = Request::default();
            assert_eq!(request.receive(text.as_bytes()), Ok(true), "{text}");
            assert_eq!(request.target(), target.map(str::as_bytes), "{text}");
        }
    }

    #[test]
    fn requests_may_arrive_in_pieces() {
        let text = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
        for cut in 1..text.len() {
            let mut request = Request::default();
            assert_eq!(request.receive(&text[..cut]), Ok(false), "{cut}");
            assert_eq!(request.receive(&text[cut..]), Ok(true), "{cut}");
            assert_eq!(request.target(), Some(&b"/metrics"[..]));
        }
    }

    #[test]
    fn requests_have_a_limit() {
        let mut request = Request::default();
        assert_eq!(request.receive(&[b'a'; MAX_REQUEST - 1]), Ok(false));
        assert_eq!(request.receive(b"a"), Ok(false));
        assert_eq!(request.receive(b"a"), Err(TooLong));
    }

    #[test]
    fn responses_have_their_length() {
        let text = String::from_utf8(response(Status::NotFound, "text/plain", "no\n")).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno\n"
        );
    }
}
