//! The stream of text: whole code points out of token pieces, and stop strings that never leak.

use std::collections::VecDeque;

use crate::error::{Error, Result};

/// Puts UTF-8 together from pieces that may end inside a code point.
///
/// All text that comes out is, put together, what [`String::from_utf8_lossy`] makes of all bytes
/// that went in: each maximal part of an invalid sequence becomes one U+FFFD.
#[derive(Debug, Clone, Default)]
pub struct Utf8Buffer {
    /// The start of a code point that is not complete: at most three bytes.
    pending: Vec<u8>,
}

impl Utf8Buffer {
    /// A buffer with nothing in it.
    pub fn new() -> Utf8Buffer {
        Utf8Buffer::default()
    }

    /// Takes the bytes of a token and returns the text that they complete; often empty.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let joined;
        let mut rest = if self.pending.is_empty() {
            bytes
        } else {
            self.pending.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.pending);
            &joined
        };
        let mut out = String::with_capacity(rest.len());
        loop {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    out.push_str(text);
                    return out;
                }
                Err(e) => {
                    let (valid, after) = rest.split_at(e.valid_up_to());
                    out.push_str(std::str::from_utf8(valid).expect("valid up to here, as the error says"));
                    match e.error_len() {
                        Some(n) => {
                            out.push(char::REPLACEMENT_CHARACTER);
                            rest = &after[n..];
                        }
                        None => {
                            self.pending = after.to_vec();
                            return out;
                        }
                    }
                }
            }
        }
    }

    /// Ends the text: what is left of an incomplete code point becomes one U+FFFD.
    pub fn flush(&mut self) -> String {
        let rest = std::mem::take(&mut self.pending);
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// What [`StopMatcher::push`] has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    /// The text before the stop string that was not emitted yet.
    pub text: String,
    /// Which stop string it was, by its position in the list.
    pub stop: usize,
}

/// Finds the first of several stop strings in text that comes in pieces.
///
/// Text is held back while it may still become a stop string, and comes out when it cannot, so
/// that nothing of a stop string is ever emitted. Of several stop strings, the one that *starts*
/// first wins; of those that start at the same place, the one that is complete first.
///
/// The time is linear in the text, whatever the text and the stop strings (Aho–Corasick), apart
/// from a logarithm of the alphabet.
#[derive(Debug, Clone)]
pub struct StopMatcher {
    nodes: Vec<Node>,
    /// Where the automaton stands.
    state: usize,
    /// Bytes that were not emitted.
    held: VecDeque<u8>,
    /// Bytes before the end of `held`, and the number of the stop string: the best match so far,
    /// when one that starts earlier is still possible.
    found: Option<Found>,
    stopped: bool,
}

#[derive(Debug, Clone, Copy)]
struct Found {
    /// Where the match starts, in bytes from the start of `held`.
    start: usize,
    stop: usize,
}

/// A prefix of a stop string.
#[derive(Debug, Clone, Default)]
struct Node {
    /// Longer prefixes, ordered by their last byte.
    next: Vec<(u8, usize)>,
    /// The longest proper suffix that is a prefix too.
    fail: usize,
    /// The length in bytes.
    depth: usize,
    /// The longest stop string that ends here: its number and length.
    longest: Option<(usize, usize)>,
}

impl StopMatcher {
    /// A matcher for these stop strings; with none it lets everything through.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] for an empty stop string: it would stop before the first token.
    pub fn new<S: AsRef<str>>(stops: &[S]) -> Result<StopMatcher> {
        let mut nodes = vec![Node::default()];
        for (number, stop) in stops.iter().enumerate() {
            let stop = stop.as_ref().as_bytes();
            if stop.is_empty() {
                return Err(Error::request("stop", format!("stop string {number} is empty")));
            }
            let mut at = 0;
            for (i, &byte) in stop.iter().enumerate() {
                at = match nodes[at].next.binary_search_by_key(&byte, |&(b, _)| b) {
                    Ok(found) => nodes[at].next[found].1,
                    Err(place) => {
                        nodes.push(Node { depth: i + 1, ..Node::default() });
                        let new = nodes.len() - 1;
                        nodes[at].next.insert(place, (byte, new));
                        new
                    }
                };
            }
            nodes[at].longest.get_or_insert((number, stop.len()));
        }
        // Breadth first, so that the shorter prefixes that a node falls back to are finished.
        let mut queue = VecDeque::from([0]);
        while let Some(at) = queue.pop_front() {
            for (byte, child) in nodes[at].next.clone() {
                let fail = if at == 0 { 0 } else { step(&nodes, nodes[at].fail, byte) };
                nodes[child].fail = fail;
                nodes[child].longest = nodes[child].longest.or(nodes[fail].longest);
                queue.push_back(child);
            }
        }
        Ok(StopMatcher { nodes, state: 0, held: VecDeque::new(), found: None, stopped: false })
    }

    /// Takes a piece of text: `Ok` with what may be emitted (often empty), or `Err` with the rest
    /// of the text when a stop string is complete. After that, nothing more comes out.
    pub fn push(&mut self, text: &str) -> Result<String, Stopped> {
        if self.stopped {
            return Ok(String::new());
        }
        for &byte in text.as_bytes() {
            self.held.push_back(byte);
            self.state = step(&self.nodes, self.state, byte);
            let node = &self.nodes[self.state];
            if let Some((stop, len)) = node.longest {
                let start = self.held.len() - len;
                if self.found.is_none_or(|f| start < f.start) {
                    self.found = Some(Found { start, stop });
                }
            }
            // What may still become a stop string starts `depth` before the end.
            if let Some(found) = self.found
                && self.held.len() - node.depth >= found.start
            {
                return Err(self.stop(found));
            }
        }
        let free = self.held.len() - self.nodes[self.state].depth;
        Ok(self.emit(self.found.map_or(free, |f| free.min(f.start))))
    }

    /// Ends the text: what was held back comes out, or the stop string that was already complete.
    pub fn flush(&mut self) -> Result<String, Stopped> {
        match self.found {
            Some(found) => Err(self.stop(found)),
            None => Ok(self.emit(self.held.len())),
        }
    }

    fn stop(&mut self, found: Found) -> Stopped {
        let text = self.emit(found.start);
        self.held.clear();
        self.found = None;
        self.state = 0;
        self.stopped = true;
        Stopped { text, stop: found.stop }
    }

    /// Takes `n` bytes from the front. Stop strings are whole code points, so a match never starts
    /// inside one, and neither does what is held back.
    fn emit(&mut self, n: usize) -> String {
        if let Some(f) = &mut self.found {
            f.start -= n;
        }
        String::from_utf8(self.held.drain(..n).collect()).expect("text is cut where a stop string may start")
    }
}

/// One byte further in the automaton; amortised constant, as each fall-back shortens the prefix.
fn step(nodes: &[Node], mut at: usize, byte: u8) -> usize {
    loop {
        if let Ok(i) = nodes[at].next.binary_search_by_key(&byte, |&(b, _)| b) {
            return nodes[at].next[i].1;
        }
        if at == 0 {
            return 0;
        }
        at = nodes[at].fail;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn utf8(pieces: &[&[u8]]) -> String {
        let mut buffer = Utf8Buffer::new();
        let mut out: String = pieces.iter().map(|p| buffer.push(p)).collect();
        out.push_str(&buffer.flush());
        out
    }

    #[test]
    fn a_code_point_comes_out_when_it_is_complete() {
        let mut b = Utf8Buffer::new();
        assert_eq!(b.push(&[0xf0, 0x9f]), "");
        assert_eq!(b.push(&[0xa6]), "");
        assert_eq!(b.push(&[0x80, b'!', 0xc3]), "🦀!");
        assert_eq!(b.flush(), "\u{fffd}");
        assert_eq!(b.flush(), "");
    }

    #[test]
    fn invalid_bytes_become_one_replacement_per_maximal_part() {
        for whole in [
            &b"a\xf0\x9f\xa6b"[..],
            b"\xed\xa0\x80",
            b"\xff\xfe",
            b"\xe2\x82",
            b"\xc0\xaf",
            b"\xf4\x90\x80\x80",
        ] {
            let singly: Vec<&[u8]> = whole.chunks(1).collect();
            assert_eq!(utf8(&singly), String::from_utf8_lossy(whole), "{whole:x?}");
        }
    }

    /// All that comes out, and the stop that was found, for text in these pieces.
    fn stop(stops: &[&str], pieces: &[&str]) -> (String, Option<usize>) {
        let mut m = StopMatcher::new(stops).unwrap();
        let mut out = String::new();
        for p in pieces {
            match m.push(p) {
                Ok(text) => out.push_str(&text),
                Err(s) => {
                    assert_eq!(m.push("more"), Ok(String::new()), "nothing comes after a stop");
                    return (out + &s.text, Some(s.stop));
                }
            }
        }
        match m.flush() {
            Ok(text) => (out + &text, None),
            Err(s) => (out + &s.text, Some(s.stop)),
        }
    }

    #[test]
    fn stops_across_pieces() {
        assert_eq!(stop(&["<|end|>"], &["hi <", "|en", "d|> x"]), ("hi ".into(), Some(0)));
        assert_eq!(stop(&["<|end|>"], &["hi <", "|em"]), ("hi <|em".into(), None));
        assert_eq!(stop(&["b", "abc"], &["xabd"]), ("xa".into(), Some(0)));
        assert_eq!(stop(&["b", "abc"], &["xa", "b", "c"]), ("x".into(), Some(1)), "what starts first wins");
        assert_eq!(stop(&["b", "abc"], &["xab"]), ("xa".into(), Some(0)));
        assert_eq!(stop(&["ab", "a"], &["xab"]), ("x".into(), Some(1)));
        assert_eq!(stop(&[], &["abc"]), ("abc".into(), None));
        assert_eq!(stop(&["ü"], &["grün"]), ("gr".into(), Some(0)));
        assert_eq!(stop(&["é"], &["grün"]), ("grün".into(), None), "code points that share their first byte");
    }

    #[test]
    fn text_that_cannot_become_a_stop_is_not_held_back() {
        let mut m = StopMatcher::new(&["abab"]).unwrap();
        assert_eq!(m.push("xaba").as_deref(), Ok("x"));
        assert_eq!(m.push("a").as_deref(), Ok("aba"), "abaa: only the last a may start a stop");
    }

    #[test]
    fn an_empty_stop_is_an_error() {
        let e = StopMatcher::new(&["a", ""]).unwrap_err();
        assert_eq!(e.to_string(), "stop: stop string 1 is empty");
        assert!(matches!(e, Error::InvalidRequest { field: "stop", .. }));
    }

    #[test]
    fn the_work_is_linear_on_repetitive_text() {
        // Quadratic, this would be 10^11 steps and take minutes.
        let stop_string = format!("{}b", "a".repeat(100_000));
        let mut m = StopMatcher::new(&[&stop_string]).unwrap();
        let mut emitted = 0;
        for _ in 0..1000 {
            emitted += m.push(&"a".repeat(1000)).unwrap().len();
        }
        assert_eq!(emitted, 900_000);
        assert_eq!(m.flush().unwrap().len(), 100_000);
    }

    /// Cuts `s` at the given places, moved down to the next boundary.
    fn cut<'a>(s: &'a str, cuts: &[usize]) -> Vec<&'a str> {
        let mut at: Vec<usize> =
            cuts.iter().map(|c| (0..=c % (s.len() + 1)).rfind(|&i| s.is_char_boundary(i)).unwrap()).collect();
        at.extend([0, s.len()]);
        at.sort_unstable();
        at.windows(2).map(|w| &s[w[0]..w[1]]).collect()
    }

    proptest! {
        #[test]
        fn utf8_is_that_of_the_whole(
            bytes in proptest::collection::vec(
                prop_oneof![any::<u8>(), proptest::sample::select(&b"a\xc3\xa4\xe2\x82\xac\xf0\x9f\xa6\x80\xed\xf4"[..])], 0..60),
            cuts in proptest::collection::vec(0usize..61, 0..8),
        ) {
            let mut at: Vec<usize> = cuts.iter().map(|c| c % (bytes.len() + 1)).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(utf8(&pieces), String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn text_ends_at_the_first_stop_and_nothing_leaks(
            text in "[abü€]{0,40}",
            stops in proptest::collection::vec("[abü€]{1,5}", 0..5),
            cuts in proptest::collection::vec(0usize..200, 0..10),
        ) {
            let first = stops.iter().filter_map(|s| text.find(s.as_str())).min();
            let want = &text[..first.unwrap_or(text.len())];
            let mut m = StopMatcher::new(&stops).unwrap();
            let (mut out, mut hit) = (String::new(), None);
            for piece in cut(&text, &cuts) {
                match m.push(piece) {
                    Ok(t) => out.push_str(&t),
                    Err(s) => {
                        out.push_str(&s.text);
                        hit = Some(s.stop);
                        break;
                    }
                }
                // At no time is more out than what stays, whatever comes later.
                prop_assert!(want.starts_with(&out), "{:?} leaked from {:?}", out, want);
            }
            if hit.is_none() {
                match m.flush() {
                    Ok(t) => out.push_str(&t),
                    Err(s) => {
                        out.push_str(&s.text);
                        hit = Some(s.stop);
                    }
                }
            }
            prop_assert_eq!(&out, want);
            prop_assert_eq!(hit.is_some(), first.is_some());
            if let (Some(hit), Some(first)) = (hit, first) {
                prop_assert!(text[first..].starts_with(&stops[hit]));
            }
        }
    }
}
