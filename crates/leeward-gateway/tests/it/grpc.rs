//! Calls of gRPC, on the bare library of HTTP/2 with gRPC's own framing: a server, a client, and the gateway between them.

mod calls;
mod failures;
mod late;
mod server;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use self::server::Server;
use crate::rig::Rig;

/// Longer than anything here takes, on a busy machine too.
const SOON: Duration = Duration::from_secs(20);

/// A message as it goes over the wire: not compressed, its length, itself.
fn framed(message: &[u8]) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    bytes.extend(message);
    bytes.into()
}

/// Messages off a stream, as they come.
struct Messages {
    stream: RecvStream,
    buffer: BytesMut,
}

impl Messages {
    fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    async fn next(&mut self) -> Option<Result<Bytes, h2::Error>> {
        loop {
            if let Some((head, rest)) = self.buffer.split_first_chunk::<5>() {
                let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
                if rest.len() >= length {
                    self.buffer.advance(5);
                    return Some(Ok(self.buffer.split_to(length).freeze()));
                }
            }
            match self.stream.data().await? {
                Ok(data) => {
                    self.stream.flow_control().release_capacity(data.len()).unwrap();
                    self.buffer.extend_from_slice(&data);
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Sends all of it, as fast as the other side takes it.
async fn send_all(stream: &mut SendStream<Bytes>, mut data: Bytes) -> bool {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let Some(Ok(count)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return false };
        if stream.send_data(data.split_to(count.min(data.len())), false).is_err() {
            return false;
        }
    }
    true
}

/// A client.
struct Client {
    send: SendRequest<Bytes>,
    _driving: JoinSet<()>,
}

/// A call on its way.
struct Call {
    sending: SendStream<Bytes>,
    answer: ResponseFuture,
}

/// How a call ended.
#[derive(Debug)]
struct Ended {
    head: HeaderMap,
    messages: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Ended {
    /// Where it says how it went.
    fn said(&self, name: &str) -> &str {
        let value = self.trailers.as_ref().unwrap_or(&self.head).get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    fn status(&self) -> &str {
        self.said("grpc-status")
    }

    /// Whether it is one head and nothing else.
    fn is_one_head(&self) -> bool {
        self.trailers.is_none() && self.messages.is_empty()
    }
}

impl Client {
    async fn connect(rig: &Rig) -> Self {
        let stream = TcpStream::connect(rig.gateway.addr()).await.unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        let mut driving = JoinSet::new();
        driving.spawn(async move {
            let _ended = connection.await;
        });
        Self { send, _driving: driving }
    }

    async fn call(&self, method: &str, headers: &[(&str, &str)]) -> Call {
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("http://shop.example/shop.Echo/{method}"))
            .header("content-type", "application/grpc+raw")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut send = self.send.clone().ready().await.unwrap();
        let (answer, sending) = send.send_request(request.body(()).unwrap(), false).unwrap();
        Call { sending, answer }
    }

    /// One message there, and all that comes back.
    async fn unary(&self, method: &str, headers: &[(&str, &str)], message: &[u8]) -> Ended {
        let mut call = self.call(method, headers).await;
        let sent = async {
            if send_all(&mut call.sending, framed(message)).await {
                let _answered_before = call.sending.send_data(Bytes::new(), true);
            }
        };
        let (ended, ()) = tokio::join!(end(call.answer), sent);
        ended.unwrap()
    }
}

async fn end(answer: ResponseFuture) -> Result<Ended, h2::Error> {
    let answer = tokio::time::timeout(SOON, answer).await.expect("an answer")?;
    let (head, stream) = answer.into_parts();
    assert_eq!(head.status.as_u16(), 200);
    let mut reader = Messages::new(stream);
    let mut messages = VecDeque::new();
    while let Some(message) = tokio::time::timeout(SOON, reader.next()).await.expect("the rest") {
        messages.push_back(message?);
    }
    assert!(reader.buffer.is_empty(), "a part of a message");
    let trailers = reader.stream.trailers().await?;
    Ok(Ended { head: head.headers, messages, trailers })
}

/// A gateway in front of these servers.
async fn rig(servers: &[&Server], service: &str, route: &str) -> Rig {
    let urls: Vec<String> = servers.iter().map(|server| format!("\"http://{}\"", server.addr)).collect();
    Rig::start(&format!(
        "cores: 1\nrate_limits: {{address: \"off\", principal: \"off\"}}\nlisten: [{{address: \"127.0.0.1:0\", protocols: [http1, http2]}}]\nservices:\n  echo:\n    urls: [{}]\n    protocol: http2\n{service}\nroutes:\n  - {{path: /shop.Echo, service: echo{route}}}\n",
        urls.join(", ")
    ))
    .await
}
