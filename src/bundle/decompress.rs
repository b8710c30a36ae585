//! Decompressing a frame: at first as it is read, and once it turns out to be a large one in a thread of its own, so that
//! what comes next is there when it is asked for. Memory is bounded: some pieces are under way, however much a few bytes
//! become.

use std::io;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::limits;

/// At most so many bytes are decompressed at a time.
const PIECE: usize = 256 << 10;
/// So many bytes of a frame are handed to the other thread at a time.
pub(super) const CHUNK: usize = 128 << 10;
/// So many chunks are under way.
const CHUNKS: usize = 3;
/// So many pieces wait to be taken.
const PIECES: usize = 3;

/// A decompressor for a frame whose window a reader can afford.
pub(super) fn decoder() -> io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(limits::WINDOW_LOG))?;
    Ok(decoder)
}

/// What a step of the decompressor has done.
pub(super) struct Step {
    /// So many bytes of what it was given are used up.
    pub(super) used: usize,
    /// It is at the end of the frame.
    pub(super) ended: bool,
    /// More may come of them, for which there was no room.
    pub(super) is_full: bool,
}

/// Decompresses some of these bytes into a piece, in place of what was there.
pub(super) fn step(decoder: &mut Decoder<'static>, bytes: &[u8], piece: &mut Vec<u8>) -> io::Result<Step> {
    piece.clear();
    piece.reserve_exact(PIECE);
    let mut input = InBuffer::around(bytes);
    let hint = decoder.run(&mut input, &mut OutBuffer::around(piece))?;
    Ok(Step { used: input.pos(), ended: hint == 0, is_full: piece.len() == piece.capacity() })
}

/// What comes from the thread that decompresses.
pub(super) enum Come {
    /// Bytes that were compressed.
    Piece(Vec<u8>),
    /// A chunk that is used up: the next one can be put into its place.
    Used(Vec<u8>),
    /// The frame's end.
    End,
    /// The decompressor finds fault with the frame.
    Failed(io::Error),
}

/// A thread that decompresses a frame. It is told the frame's bytes chunk by chunk, and ends with the frame, or when this is
/// dropped.
pub(super) struct Ahead {
    /// `None` once there is nothing more to tell.
    chunks: Option<Sender<Vec<u8>>>,
    spare: Sender<Vec<u8>>,
    come: Option<Receiver<Come>>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    /// Starts the thread, which goes on where the decompressor is. It asks for its first chunks by giving back empty ones.
    /// Gives the decompressor back if no thread can be started.
    pub(super) fn start(decoder: Decoder<'static>) -> Result<Self, Decoder<'static>> {
        let (chunks, to_use) = unbounded();
        let (spare, spares) = unbounded();
        let (tell, come) = bounded(PIECES + CHUNKS);
        // A thread that can't be started drops what it was to begin with.
        let (hand_over, begins) = bounded(1);
        let work = move || {
            if let Ok(decoder) = begins.recv() {
                // An error here is that nobody waits for more.
                let _ = decompress_each(decoder, &to_use, &spares, &tell);
            }
        };
        match thread::Builder::new().name("decompress".into()).spawn(work) {
            Ok(thread) => {
                hand_over.send(decoder).expect("the thread waits for it");
                Ok(Self { chunks: Some(chunks), spare, come: Some(come), thread: Some(thread) })
            }
            Err(_) => Err(decoder),
        }
    }

    /// Takes what comes next. `None` once all that it was told has come, and there is no end of the frame in it.
    pub(super) fn next(&self) -> Option<Come> {
        self.come.as_ref().and_then(|come| come.recv().ok())
    }

    /// Tells more of the frame; an empty chunk says that nothing follows.
    pub(super) fn tell(&mut self, chunk: Vec<u8>) {
        match &self.chunks {
            // It takes no more after its end, or an error, and says so.
            Some(chunks) if !chunk.is_empty() => drop(chunks.send(chunk)),
            _ => self.chunks = None,
        }
    }

    /// Gives a piece back, to be filled again.
    pub(super) fn give_back(&self, piece: Vec<u8>) {
        let _ = self.spare.send(piece);
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        (self.chunks, self.come) = (None, None);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Nobody waits for what would come.
struct Left;

fn decompress_each(
    mut decoder: Decoder<'static>,
    chunks: &Receiver<Vec<u8>>,
    spares: &Receiver<Vec<u8>>,
    tell: &Sender<Come>,
) -> Result<(), Left> {
    let send = |come| tell.send(come).map_err(|_| Left);
    for _ in 0..CHUNKS {
        send(Come::Used(Vec::with_capacity(CHUNK)))?;
    }
    for mut chunk in chunks {
        let mut used = 0;
        loop {
            let mut piece = spares.try_recv().unwrap_or_default();
            let done = match step(&mut decoder, &chunk[used..], &mut piece) {
                Ok(done) => done,
                Err(error) => return send(Come::Failed(error)),
            };
            used += done.used;
            if !piece.is_empty() {
                send(Come::Piece(piece))?;
            }
            if done.ended {
                return send(Come::End);
            }
            if used == chunk.len() && !done.is_full {
                break;
            }
        }
        chunk.clear();
        send(Come::Used(chunk))?;
    }
    Ok(())
}
