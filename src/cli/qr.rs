//! QR codes on a terminal, for machines between which nothing can be copied.

use std::io::IsTerminal;

use mailsync::error::{Error, Result};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;

/// Checks that a QR code can be shown there.
///
/// # Errors
/// It is no terminal.
pub fn check(shown_on: &impl IsTerminal, what: &str) -> Result<()> {
    if shown_on.is_terminal() {
        return Ok(());
    }
    Err(Error::usage(format!("showing a QR code: {what} is no terminal"))
        .advise("run this on a terminal, or without --qr: the same is there as text"))
}

/// A QR code of a text, line by line: light on dark, as most terminals are, with the margin that readers need.
///
/// # Errors
/// The text is too long for one.
pub fn lines(text: &str) -> Result<Vec<String>> {
    let code = QrCode::new(text)
        .map_err(|error| Error::usage(format!("showing a QR code: {error}")).advise("run this without --qr"))?;
    // What the crate calls dark is what a terminal draws.
    let drawn = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    Ok(drawn.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use qrcode::{Color, QrCode};

    use super::*;

    #[test]
    fn a_terminal_shows_each_module_and_a_margin() {
        const MARGIN: usize = 4;
        let text = "abandon-act-zoo-zebra-action-wrong";
        let code = QrCode::new(text).unwrap();
        let (width, modules) = (code.width(), code.to_colors());
        let shown: Vec<Vec<char>> = lines(text).unwrap().iter().map(|line| line.chars().collect()).collect();
        // Each character shows two modules, one above the other. Where the terminal draws something, it is light.
        let is_light = |x: usize, y: usize| {
            let (upper, lower) = match shown[y / 2][x] {
                '\u{2588}' => (true, true),
                '\u{2580}' => (true, false),
                '\u{2584}' => (false, true),
                ' ' => (false, false),
                other => panic!("{other:?}"),
            };
            if y.is_multiple_of(2) { upper } else { lower }
        };
        for y in 0..width + 2 * MARGIN {
            for x in 0..width + 2 * MARGIN {
                let within = |at: usize| (MARGIN..MARGIN + width).contains(&at);
                let light = !within(x) || !within(y) || modules[(y - MARGIN) * width + x - MARGIN] == Color::Light;
                assert_eq!(is_light(x, y), light, "{x} {y}");
            }
        }
    }

    #[test]
    fn what_is_too_long_for_a_code_is_said_to_be() {
        assert!(lines(&"x".repeat(10_000)).unwrap_err().to_string().contains("too long"));
    }
}
