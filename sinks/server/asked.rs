//! What is asked, as it comes: how much of it may lie in memory before it is whole.
//!
//! Law: of messages that are not whole yet, those longer than [`SMALL`] take no more memory together than
//! there is room for. Room is taken for all of a message when it begins, so that what has begun can be ended; what
//! finds none waits, and so does its sender. A message that does not come fast enough ends its call.
//!
//! gRPC puts five bytes before each message: a flag, and its length with the greatest byte first
//! (gRPC over HTTP2, "Length-Prefixed-Message").

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use prost::bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tonic::Status;
use tonic::body::Body;

use super::RECEIVED_BYTES_MAX;
use super::lines::Call;
use crate::limits::Limits;

/// Messages up to this length take no room: they come in a frame or two.
const SMALL: usize = 16 << 10;
/// Room is counted in pieces of so many bytes.
const PIECE: usize = 1 << 10;
/// The room that messages of all connections share.
#[derive(Clone)]
pub(super) struct Room {
    pieces: Arc<Semaphore>,
    /// How long a message may take once it has room.
    patience: Duration,
}

impl Room {
    /// Room as these limits say, and for one message at least.
    pub fn new(limits: &Limits) -> Room {
        let pieces = limits.asked_bytes_max.max(RECEIVED_BYTES_MAX).div_ceil(PIECE);
        Room { pieces: Arc::new(Semaphore::new(pieces)), patience: limits.asked_for_max }
    }

    /// Room for a message of this length, once there is some. One that is too long is not waited for: it is refused
    /// by whoever reads it.
    fn take(&self, length: usize) -> BoxFuture<'static, OwnedSemaphorePermit> {
        let pieces = length.min(RECEIVED_BYTES_MAX).div_ceil(PIECE) as u32;
        let room = self.pieces.clone();
        async move { room.acquire_many_owned(pieces).await.expect("the room is never closed") }.boxed()
    }
}

/// What is asked, whose connection hears when nobody needs more of it.
pub(super) struct Question {
    body: Body,
    call: Arc<Call>,
    room: Room,
    framing: Framing,
    stage: Stage,
}

/// What becomes of the message that is not whole.
enum Stage {
    /// There is none, or it is small.
    Free,
    /// It waits for room, with the frame in which it begins.
    Waiting(BoxFuture<'static, OwnedSemaphorePermit>, Bytes),
    /// It has room, for so long.
    Coming(
        Pin<Box<Sleep>>,
        #[expect(dead_code, reason = "the room is given back when it is dropped")] OwnedSemaphorePermit,
    ),
}

impl Question {
    pub fn new(body: Body, call: Arc<Call>, room: Room) -> Question {
        Question { body, call, room, framing: Framing::default(), stage: Stage::Free }
    }

    /// Takes note of a frame; gives it back unless it has to wait.
    fn pass(&mut self, bytes: Bytes) -> Option<Bytes> {
        let passed = self.framing.pass(&bytes);
        if passed.ended {
            self.stage = Stage::Free;
        }
        match passed.begun.filter(|&length| length > SMALL) {
            Some(length) => {
                self.stage = Stage::Waiting(self.room.take(length), bytes);
                None
            }
            None => Some(bytes),
        }
    }
}

impl http_body::Body for Question {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let question = &mut *self;
        loop {
            match &mut question.stage {
                Stage::Waiting(room, bytes) => {
                    let permit = ready!(room.poll_unpin(context));
                    let bytes = std::mem::take(bytes);
                    question.stage = Stage::Coming(Box::pin(sleep(question.room.patience)), permit);
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Stage::Coming(deadline, _) => {
                    if deadline.poll_unpin(context).is_ready() {
                        let why = format!("a message did not come within {:?}: send it again", question.room.patience);
                        return Poll::Ready(Some(Err(Status::deadline_exceeded(why))));
                    }
                }
                Stage::Free => {}
            }
            let frame = match ready!(Pin::new(&mut question.body).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(other),
            };
            let bytes = match frame.into_data() {
                Ok(bytes) => bytes,
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            };
            if let Some(bytes) = question.pass(bytes) {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        !matches!(self.stage, Stage::Waiting(..)) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.call.asked();
    }
}

/// Where messages begin and end in what comes.
#[derive(Default)]
struct Framing {
    /// What has come of the bytes before a message.
    prefix: Vec<u8>,
    /// How much is left of the message.
    left: usize,
}

/// What became of messages with some bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Passed {
    /// Whether the one that had begun before is whole.
    ended: bool,
    /// The length of the one that began and is not whole.
    begun: Option<usize>,
}

/// Bytes before each message.
const PREFIX: usize = 5;

impl Framing {
    fn pass(&mut self, mut bytes: &[u8]) -> Passed {
        let mut passed = Passed::default();
        while !bytes.is_empty() {
            if self.left > 0 {
                let (here, rest) = bytes.split_at(self.left.min(bytes.len()));
                (self.left, bytes) = (self.left - here.len(), rest);
                if self.left == 0 {
                    passed = Passed { ended: true, begun: None };
                }
                continue;
            }
            let (here, rest) = bytes.split_at((PREFIX - self.prefix.len()).min(bytes.len()));
            self.prefix.extend_from_slice(here);
            bytes = rest;
            if let [_, length @ ..] = &self.prefix[..]
                && let Ok(length) = <[u8; 4]>::try_from(length)
            {
                self.left = u32::from_be_bytes(length) as usize;
                passed.begun = Some(self.left).filter(|&left| left > 0);
                self.prefix.clear();
            }
        }
        passed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};

    use futures::future::poll_fn;
    use http_body::Body as _;

    use super::super::lines::Lines;
    use super::*;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend_from_slice(&(length as u32).to_be_bytes());
        bytes.resize(PREFIX + length, 7);
        bytes
    }

    /// A body of these frames, that then says nothing more.
    struct Frames(VecDeque<Bytes>);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            match self.0.pop_front() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => Poll::Pending,
            }
        }
    }

    async fn question(room: &Room, frames: &[&[u8]]) -> Question {
        let call = Lines::new(Limits::default()).take().await.line().call();
        let frames = frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect();
        Question::new(Body::new(Frames(frames)), call, room.clone())
    }

    /// How many bytes the next frame has; none if it is not there.
    async fn next(question: &mut Question) -> Option<Result<usize, Status>> {
        poll_fn(|context| {
            let frame = match Pin::new(&mut *question).poll_frame(context) {
                Poll::Ready(frame) => frame,
                Poll::Pending => return Poll::Ready(None),
            };
            let length = |frame: Frame<Bytes>| frame.into_data().map_or(0, |bytes| bytes.len());
            Poll::Ready(frame.map(|frame| frame.map(length)))
        })
        .await
    }

    #[test]
    fn messages_are_told_apart_wherever_frames_are_cut() {
        let messages = [message(3), message(0), message(300), message(1)];
        let bytes = messages.concat();
        let ends = messages.iter().scan(0, |end, message| {
            *end += message.len();
            Some((message.len(), *end))
        });
        // One without bytes neither begins nor ends.
        let ends: Vec<usize> = ends.filter(|(length, _)| *length > PREFIX).map(|(_, end)| end).collect();
        for cut in 1..40 {
            let (mut framing, mut ended) = (Framing::default(), 0);
            for frame in bytes.chunks(cut) {
                ended += usize::from(framing.pass(frame).ended);
            }
            assert_eq!((framing.left, framing.prefix.len()), (0, 0), "cut every {cut} bytes");
            let frames: BTreeSet<usize> = ends.iter().map(|end| (end - 1) / cut).collect();
            assert_eq!(ended, frames.len(), "cut every {cut} bytes");
        }
        let mut framing = Framing::default();
        assert_eq!(framing.pass(&bytes[..20]), Passed { ended: true, begun: Some(300) });
        assert_eq!(framing.pass(&bytes[20..300]), Passed::default());
        assert_eq!(framing.pass(&bytes[300..]), Passed { ended: true, begun: None });
    }

    #[tokio::test]
    async fn messages_wait_for_room_and_give_it_back() {
        let room = Room::new(&Limits { asked_bytes_max: 0, ..Limits::default() });
        let long = message(RECEIVED_BYTES_MAX);
        let (begin, end) = long.split_at(1_000);
        let mut first = question(&room, &[begin, end]).await;
        assert!(matches!(next(&mut first).await, Some(Ok(1_000))));
        let mut second = question(&room, &[begin]).await;
        assert!(next(&mut second).await.is_none(), "there is no room");
        let small = message(SMALL);
        let mut third = question(&room, &[&small[..10], &small[10..]]).await;
        assert!(matches!(next(&mut third).await, Some(Ok(10))), "a small one needs none");
        assert!(next(&mut first).await.is_some_and(|frame| frame.is_ok()));
        assert!(matches!(next(&mut second).await, Some(Ok(1_000))), "the first is whole");
        drop(second);
        let mut fourth = question(&room, &[begin]).await;
        assert!(matches!(next(&mut fourth).await, Some(Ok(1_000))), "whoever leaves gives it back");
        drop(fourth);
        let mut hasty = question(&Room { patience: Duration::ZERO, ..room }, &[begin]).await;
        assert!(matches!(next(&mut hasty).await, Some(Ok(1_000))));
        sleep(Duration::from_millis(5)).await;
        assert!(next(&mut hasty).await.is_some_and(|frame| frame.is_err()), "the rest did not come in time");
    }
}
