//! The side of the process that is to take over.

use leeward_gateway::reload::BoxError;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use super::{BEGIN, GO, HELLO, READY, READY_WITHIN, WORD_WITHIN};

/// The process whose place this one takes.
#[derive(Debug)]
pub(crate) struct Before(BufReader<UnixStream>);

impl Before {
    /// Says that the configuration is right, and waits until the files are free.
    pub(crate) async fn introduce(stream: std::os::unix::net::UnixStream) -> Result<Self, BoxError> {
        stream.set_nonblocking(true)?;
        let mut before = Self(BufReader::new(UnixStream::from_std(stream)?));
        // The process before has to find out first how far this one is.
        before.say_and_hear(HELLO, GO, WORD_WITHIN + WORD_WITHIN).await?;
        Ok(before)
    }

    /// Says that this process could answer, and waits until it is its turn.
    pub(crate) async fn begin(mut self) -> Result<(), BoxError> {
        self.say_and_hear(READY, BEGIN, READY_WITHIN).await
    }

    async fn say_and_hear(
        &mut self,
        word: &str,
        answer: &str,
        within: std::time::Duration,
    ) -> Result<(), BoxError> {
        let mut heard = String::new();
        let talk = async {
            self.0.write_all(word.as_bytes()).await?;
            self.0.read_line(&mut heard).await
        };
        let talked = tokio::time::timeout(within, talk).await;
        let failed = |why: String| format!("the process whose place this one was to take {why}");
        talked
            .map_err(|_| failed("does not answer".to_owned()))?
            .map_err(|error| failed(error.to_string()))?;
        if heard == answer { Ok(()) } else { Err(failed("changed its mind".to_owned()).into()) }
    }
}
