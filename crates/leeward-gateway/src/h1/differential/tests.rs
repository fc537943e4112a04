use std::cell::RefCell;

use bytes::BytesMut;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::super::chunked::{Decoder, Step};
use super::super::head::{Bounds, Reader};
use super::{BOUNDS, compare, ours};

/// Requests that are in order, in the forms that clients write.
const SEEDS: [&str; 14] = [
    "GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nUser-Agent: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nrest",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcdeGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
    "PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 012\r\nX:\r\n\r\n0123456789abcdef",
    "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\nA;b=\"c\"\r\n0123456789\r\n1\r\nx\r\n0\r\nX: y\r\n\r\nrest",
    "PATCH /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n00\r\nX: a\r\nY: b\r\n\r\n",
    "DELETE /a HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab",
    "POST /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\nab",
];

/// Pieces over which readers have fallen out.
const PIECES: [&str; 40] = [
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    "\0",
    ":",
    ",",
    ";",
    "0",
    "1",
    "a",
    "\u{e9}",
    "\x0b",
    "+",
    "-",
    "0x",
    "\"",
    "#",
    "%",
    "\r\n ",
    "\r\n\r\n",
    "Content-Length: 1\r\n",
    "Content-Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "chunked",
    "gzip, ",
    "identity",
    "HTTP/1.0",
    "HTTP/1.1",
    "HTTP/2.0",
    "Host: b\r\n",
    "0\r\n\r\n",
    "1\r\nx\r\n",
    "5\r\n",
    ";a=b",
    "GET ",
    "Expect: x\r\n",
    "X: y\r\n",
];

/// One change.
#[derive(Clone, Debug)]
enum Change {
    Insert(usize, &'static str),
    Remove(usize, usize),
    Replace(usize, u8),
    /// Some bytes stand once more behind themselves.
    Repeat(usize, usize),
    Cut(usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => (any::<usize>(), prop::sample::select(PIECES.to_vec())).prop_map(|(at, piece)| Change::Insert(at, piece)),
        2 => (any::<usize>(), 1..4_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        2 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        1 => (any::<usize>(), 1..30_usize).prop_map(|(at, count)| Change::Repeat(at, count)),
        1 => any::<usize>().prop_map(Change::Cut),
    ]
}

fn changed(seed: &str, changes: &[Change]) -> Vec<u8> {
    let mut bytes = seed.as_bytes().to_vec();
    for change in changes {
        let place = |at: usize| at % (bytes.len() + 1);
        match *change {
            Change::Insert(at, piece) => {
                let at = place(at);
                bytes.splice(at..at, piece.bytes());
            }
            Change::Remove(at, count) => {
                let at = place(at);
                bytes.drain(at..(at + count).min(bytes.len()));
            }
            Change::Replace(at, byte) => {
                let at = place(at);
                if let Some(old) = bytes.get_mut(at) {
                    *old = byte;
                }
            }
            Change::Repeat(at, count) => {
                let at = place(at);
                let end = (at + count).min(bytes.len());
                let again = bytes[at..end].to_vec();
                bytes.splice(end..end, again);
            }
            Change::Cut(at) => {
                let at = place(at);
                bytes.truncate(at);
            }
        }
    }
    bytes
}

#[test]
fn whatever_is_accepted_here_means_the_same_there() {
    for seed in SEEDS {
        assert!(matches!(ours(seed.as_bytes()), Ok(Some(_))), "{seed:?}");
    }
    // The same cases each time: what fails once fails again.
    let config = Config { cases: 6_000, failure_persistence: None, ..Config::default() };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let accepted = RefCell::new(0);
    let changes = prop::collection::vec(change(), 0..5);
    runner
        .run(&(prop::sample::select(SEEDS.to_vec()), changes), |(seed, changes)| {
            let bytes = changed(seed, &changes);
            let same = compare(&bytes);
            prop_assert!(same.is_ok(), "{}", same.unwrap_err());
            *accepted.borrow_mut() += usize::from(same == Ok(true));
            Ok(())
        })
        .unwrap();
    assert!(accepted.take() > 1_000, "only few were accepted: they say little");
}

proptest! {
    /// Bytes of all kinds, in pieces of all sizes: an answer, no panic, and no more kept than the bounds allow.
    #[test]
    fn heads_of_any_bytes_are_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        step in 1..64_usize,
    ) {
        let bounds = Bounds { bytes: 256, headers: 8 };
        let (mut reader, mut buffer) = (Reader::default(), BytesMut::new());
        for piece in bytes.chunks(step) {
            buffer.extend_from_slice(piece);
            match reader.read(&mut buffer, bounds) {
                Ok(Some(_)) => {}
                Ok(None) => prop_assert!(buffer.len() < bounds.bytes),
                Err(_) => break,
            }
        }
    }

    /// The same with bytes that look like a head.
    #[test]
    fn heads_that_are_nearly_right_are_read_or_refused(
        seed in prop::sample::select(SEEDS.to_vec()),
        changes in prop::collection::vec(change(), 0..12),
        step in 1..64_usize,
    ) {
        let bytes = changed(seed, &changes);
        let whole = ours(&bytes);
        // However the head comes in, what is said about it is the same.
        let (mut reader, mut buffer) = (Reader::default(), BytesMut::new());
        let mut head = Ok(None);
        for piece in bytes.chunks(step) {
            buffer.extend_from_slice(piece);
            head = reader.read(&mut buffer, BOUNDS);
            if !matches!(head, Ok(None)) {
                break;
            }
        }
        match (&whole, head) {
            (Ok(Some(read)), Ok(Some(head))) => prop_assert_eq!(&read.target, &head.parts.uri.to_string()),
            (Ok(Some(_)), other) => prop_assert!(false, "{other:?}"),
            (_, Err(rule)) => prop_assert_eq!(whole.unwrap_err(), rule),
            (_, Ok(_)) => {}
        }
    }
}

proptest! {
    #![proptest_config(Config::with_cases(64))]

    /// Chunks of any bytes: data never exceeds what came in, and what waits is short.
    #[test]
    fn chunks_of_any_bytes_are_read_or_refused(
        bytes in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'3'), Just(b';'), any::<u8>()], 0..1_500),
        step in 1..700_usize,
    ) {
        let (mut decoder, mut buffer, mut data) = (Decoder::new(super::BOUNDS), BytesMut::new(), 0);
        'pieces: for piece in bytes.chunks(step) {
            buffer.extend_from_slice(piece);
            loop {
                match decoder.step(&mut buffer) {
                    Ok(Step::Data(bytes)) => data += bytes.len(),
                    Ok(Step::More) => break,
                    Ok(Step::Over | Step::Trailers(_)) | Err(_) => break 'pieces,
                }
            }
            prop_assert!(buffer.len() <= super::BOUNDS.bytes, "{} bytes wait", buffer.len());
        }
        prop_assert!(data <= bytes.len());
    }
}
