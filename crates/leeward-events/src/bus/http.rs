//! What the owner of a bus and its clients say to each other over HTTP.
//!
//! | request | answer |
//! |---|---|
//! | `POST /bus/v1/events`, a JSON array of CloudEvents | `{"position":N}` once all of them are on disk |
//! | `GET /bus/v1/groups/{group}/events?patterns=a.*,b&start=acknowledged` | a stream of JSON lines, below |
//! | `POST /bus/v1/groups/{group}/ack`, `{"session":S,"position":N}` | 204 |
//! | `GET /bus/v1/groups` | how far each group is behind |
//! | `DELETE /bus/v1/groups/{group}` | 204, or 404 |
//!
//! All carry `Authorization: Bearer TOKEN`. The stream starts with `{"bus":ID,"session":S,"after":N}`; then come events as
//! `{"position":N,"event":{...}}` and, after some of them or ten seconds of silence, `{"through":N,"head":H}`: all up to N has been looked at
//! for this group, and H is the newest event of the bus. It ends with
//! `{"superseded":true}` when the group has a newer subscriber. `start` is `acknowledged`, `beginning`, `now` or `resume:BUS:N`.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::message::{Batch, Delivery, Position, Start};

/// How often the owner says that it is still there.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);

/// What an event costs in a stream beside its own bytes.
const LINE_OVERHEAD_BYTES: usize = 64;

/// Longest line that a client takes.
pub(super) const LINE_BYTES_MAX: usize = crate::envelope::EVENT_BYTES_MAX + LINE_OVERHEAD_BYTES;

/// The first line of a stream.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Opening {
    pub(super) bus: String,
    pub(super) session: u64,
    pub(super) after: Position,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ack {
    pub(super) session: u64,
    pub(super) position: Position,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Published {
    pub(super) position: Position,
}

/// The part of problem+json that a client looks at.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct ProblemBody {
    pub(super) title: String,
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) held_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limit_bytes: Option<u64>,
}

pub(super) mod code {
    pub(in crate::bus) const FULL: &str = "bus_full";
    pub(in crate::bus) const SUPERSEDED: &str = "bus_group_superseded";
    pub(in crate::bus) const UNAUTHORISED: &str = "bus_unauthorised";
}

#[derive(Debug, Deserialize)]
struct WireLine<'a> {
    #[serde(default)]
    position: Option<Position>,
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
    #[serde(default)]
    through: Option<Position>,
    #[serde(default)]
    head: Option<Position>,
    #[serde(default)]
    superseded: bool,
}

/// One line of a stream after the opening.
#[derive(Debug)]
pub(super) enum Line {
    Event(Delivery),
    Through {
        through: Position,
        head: Position,
    },
    Superseded,
    /// Something that a newer owner says; passed over.
    Unknown,
}

impl Line {
    pub(super) fn parse(line: &Bytes) -> Result<Self, serde_json::Error> {
        let wire: WireLine<'_> = serde_json::from_slice(line)?;
        Ok(match wire {
            WireLine { position: Some(position), event: Some(event), .. } => {
                Self::Event(Delivery { position, body: line.slice_ref(event.get().as_bytes()) })
            }
            WireLine { through: Some(through), head, .. } => {
                Self::Through { through, head: head.unwrap_or(through) }
            }
            WireLine { superseded: true, .. } => Self::Superseded,
            _ => Self::Unknown,
        })
    }
}

/// The lines for a batch, in one buffer.
pub(super) fn batch_lines(batch: &Batch) -> Bytes {
    let events = batch.deliveries.iter().map(|one| one.body.len() + LINE_OVERHEAD_BYTES).sum::<usize>();
    let mut out = BytesMut::with_capacity(events + LINE_OVERHEAD_BYTES);
    for delivery in &batch.deliveries {
        out.put_slice(b"{\"position\":");
        out.put_slice(delivery.position.to_string().as_bytes());
        out.put_slice(b",\"event\":");
        out.put_slice(&delivery.body);
        out.put_slice(b"}\n");
    }
    out.put_slice(&through_line(batch.through, batch.head));
    out.freeze()
}

pub(super) fn through_line(through: Position, head: Position) -> Bytes {
    format!("{{\"through\":{through},\"head\":{head}}}\n").into()
}

pub(super) const SUPERSEDED_LINE: &[u8] = b"{\"superseded\":true}\n";

/// `start` as it stands in the query.
pub(super) fn start_text(start: &Start) -> String {
    match start {
        Start::Acknowledged => "acknowledged".to_owned(),
        Start::Beginning => "beginning".to_owned(),
        Start::Now => "now".to_owned(),
        Start::Resume { bus, position } => format!("resume:{bus}:{position}"),
    }
}

pub(super) fn parse_start(text: &str) -> Option<Start> {
    match text {
        "acknowledged" => Some(Start::Acknowledged),
        "beginning" => Some(Start::Beginning),
        "now" => Some(Start::Now),
        other => {
            let (bus, position) = other.strip_prefix("resume:")?.split_once(':')?;
            Some(Start::Resume { bus: bus.into(), position: Position::new(position.parse().ok()?) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        let delivery = |position| Delivery {
            position: Position::new(position),
            body: Bytes::from_static(b"{\"id\":\"1\"}"),
        };
        let batch = Batch {
            bus: "b".into(),
            deliveries: vec![delivery(4), delivery(6)],
            through: Position::new(9),
            head: Position::new(11),
        };
        let text = batch_lines(&batch);
        let lines: Vec<Line> = text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| Line::parse(&text.slice_ref(line)).unwrap())
            .collect();
        let [Line::Event(first), Line::Event(second), Line::Through { through, head }] = &lines[..] else {
            panic!("{lines:?}")
        };
        assert_eq!((first.position.get(), second.position.get(), through.get()), (4, 6, 9));
        assert_eq!(head.get(), 11);
        assert_eq!(first.body, batch.deliveries[0].body);
        assert!(matches!(Line::parse(&Bytes::from_static(SUPERSEDED_LINE)), Ok(Line::Superseded)));
        assert!(matches!(Line::parse(&Bytes::from_static(b"{\"later\":1}")), Ok(Line::Unknown)));
        assert!(Line::parse(&Bytes::from_static(b"{\"position\":")).is_err());
    }

    #[test]
    fn starts_are_read_as_they_were_written() {
        let resume = Start::Resume { bus: "b-1".into(), position: Position::new(17) };
        for start in [Start::Acknowledged, Start::Beginning, Start::Now, resume] {
            assert_eq!(parse_start(&start_text(&start)), Some(start));
        }
        assert_eq!(parse_start("resume:b"), None);
        assert_eq!(parse_start("yesterday"), None);
    }
}
