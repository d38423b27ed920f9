//! Signals as readiness: SIGTERM and SIGINT end the server, SIGHUP loads certificates again.

use crate::reactor::token::Source;
use mio::net::UnixStream;
use mio::{Interest, Registry};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io::{self, Read as _};

/// The read ends of the pipes that the signals write to.
#[derive(Debug)]
pub(super) struct Signals {
    stop: UnixStream,
    reload: UnixStream,
}

impl Signals {
    /// Takes the three signals over for this process.
    ///
    /// # Errors
    ///
    /// The system refuses the pipe or the handler.
    pub(super) fn install(registry: &Registry) -> io::Result<Self> {
        let stop = watch(&[SIGTERM, SIGINT], registry, Source::Stop)?;
        let reload = watch(&[SIGHUP], registry, Source::Reload)?;
        Ok(Self { stop, reload })
    }

    /// Empties the pipe of a source, so that the next signal is an event again.
    pub(super) fn clear(&mut self, source: Source) {
        let pipe = if source == Source::Reload { &mut self.reload } else { &mut self.stop };
        let mut bytes = [0; 64];
        while pipe.read(&mut bytes).is_ok_and(|count| count > 0) {}
    }
}

fn watch(signals: &[i32], registry: &Registry, source: Source) -> io::Result<UnixStream> {
    let (read, write) = std::os::unix::net::UnixStream::pair()?;
    read.set_nonblocking(true)?;
    write.set_nonblocking(true)?;
    for signal in signals {
        pipe::register(*signal, write.try_clone()?)?;
    }
    let mut read = UnixStream::from_std(read);
    registry.register(&mut read, source.token(), Interest::READABLE)?;
    Ok(read)
}
