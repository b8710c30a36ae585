//! The arguments of `mailsync key`.

use clap::Subcommand;

#[derive(Debug, clap::Args)]
pub struct Key {
    #[command(subcommand)]
    pub command: KeyCommand,
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Show the public key, and former ones
    Show {
        /// Show it on the terminal as a QR code, too, for a machine with a camera
        #[arg(long)]
        qr: bool,
    },
    /// Make a new key, which takes the place of the present one; peers are told in the next bundles
    Rotate,
    /// Give the key a passphrase, or another one
    Passphrase {
        /// Take the passphrase away
        #[arg(long)]
        remove: bool,
    },
}
