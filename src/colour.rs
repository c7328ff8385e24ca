//! Whether output has colours.

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};

/// Whether output for people has colours: on a terminal that has them, unless `NO_COLOR` is set (<https://no-color.org>).
pub fn is_coloured(stream: &impl RawStream) -> bool {
    // `CLICOLOR_FORCE` would colour a pipe too.
    stream.is_terminal() && AutoStream::choice(stream) != ColorChoice::Never
}
