//! Just enough of the Redis protocol to tell one request from the next: an array of strings, each with its length.

/// Takes the first request off the front of what a client has sent, if all of it is there.
pub(crate) fn take(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let length = length(buffer)?;
    Some(buffer.drain(..length).collect())
}

/// The command, as in `EVALSHA`, in upper case.
pub(crate) fn name(request: &[u8]) -> String {
    let name = header(request, 0, b'*')
        .and_then(|(_, end)| header(request, end, b'$'))
        .and_then(|(length, start)| request.get(start..start + length))
        .expect("a whole request");
    String::from_utf8_lossy(name).to_ascii_uppercase()
}

/// Whether `text` stands anywhere in the request, in upper or lower case.
pub(crate) fn holds(request: &[u8], text: &str) -> bool {
    text.is_empty()
        || request
            .windows(text.len())
            .any(|part| part.eq_ignore_ascii_case(text.as_bytes()))
}

fn length(buffer: &[u8]) -> Option<usize> {
    let (words, mut end) = header(buffer, 0, b'*')?;
    for _ in 0..words {
        let (length, start) = header(buffer, end, b'$')?;
        end = start + length + b"\r\n".len();
    }
    (end <= buffer.len()).then_some(end)
}

/// The number in a line such as `*3` or `$7` that begins at `start`, and where the next line begins.
fn header(buffer: &[u8], start: usize, sign: u8) -> Option<(usize, usize)> {
    let rest = buffer.get(start..)?;
    let length = rest.windows(2).position(|pair| pair == b"\r\n")?;
    assert_eq!(rest[0], sign, "redis-rs sends arrays of strings");
    let number = str::from_utf8(&rest[1..length])
        .ok()
        .and_then(|digits| digits.parse().ok());
    Some((number.expect("a number"), start + length + 2))
}

#[cfg(test)]
mod tests {
    use super::{holds, name, take};

    const TWO: &[u8] = b"*2\r\n$3\r\nget\r\n$4\r\n\r\n*1\r\n*1\r\n$4\r\nPING\r\n";

    #[test]
    fn requests_come_apart_wherever_the_stream_was_cut() {
        for cut in 0..=TWO.len() {
            let mut buffer = TWO[..cut].to_vec();
            let mut requests: Vec<_> = std::iter::from_fn(|| take(&mut buffer)).collect();
            buffer.extend(&TWO[cut..]);
            requests.extend(std::iter::from_fn(|| take(&mut buffer)));
            assert_eq!(requests, [&TWO[..23], &TWO[23..]], "cut at {cut}");
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn a_request_has_a_name_and_words() {
        assert_eq!(name(&TWO[..23]), "GET");
        assert!(holds(TWO, "ping"));
        assert!(!holds(TWO, "pong"));
    }
}
