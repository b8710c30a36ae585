//! What a document says of the command line: the command's words, and whether it is a dry run.

use crate::cli::document::Form;

use super::{Command, JobsCommand, KeyCommand, PeerCommand, TrashCommand};

impl Command {
    /// The command's words, as they are typed.
    pub fn words(&self) -> &'static str {
        match self {
            Self::Init(_) => "init",
            Self::Invite(_) => "invite",
            Self::Join(_) => "join",
            Self::Peer(args) => match args.command {
                PeerCommand::List { .. } => "peer list",
                PeerCommand::Add { .. } => "peer add",
                PeerCommand::Rename { .. } => "peer rename",
                PeerCommand::Remove { .. } => "peer remove",
                PeerCommand::Revoke { .. } => "peer revoke",
                PeerCommand::Reinstate { .. } => "peer reinstate",
            },
            Self::Key(args) => match args.command {
                KeyCommand::Show { .. } => "key show",
                KeyCommand::Rotate => "key rotate",
                KeyCommand::Passphrase { .. } => "key passphrase",
            },
            Self::Scan(_) => "scan",
            Self::Export(_) => "export",
            Self::Import(_) => "import",
            Self::Update(_) => "update",
            Self::Watch(_) => "watch",
            Self::Uux(_) => "uux",
            Self::Jobs(args) => match args.command {
                JobsCommand::List => "jobs list",
                JobsCommand::Show { .. } => "jobs show",
                JobsCommand::Run => "jobs run",
                JobsCommand::Retry { .. } => "jobs retry",
                JobsCommand::Cancel { .. } => "jobs cancel",
                JobsCommand::Forget { .. } => "jobs forget",
            },
            Self::Purge(_) => "purge",
            Self::Status(_) => "status",
            Self::Log(_) => "log",
            Self::Inspect(_) => "inspect",
            Self::Verify(_) => "verify",
            Self::Restore(_) => "restore",
            Self::Trash(args) => match args.command {
                TrashCommand::List { .. } => "trash list",
                TrashCommand::Show { .. } => "trash show",
                TrashCommand::Restore { .. } => "trash restore",
            },
            Self::Undo(_) => "undo",
            Self::Doctor(_) => "doctor",
            Self::Deinit(_) => "deinit",
            Self::Completions { .. } => "completions",
            Self::Man { .. } => "man",
        }
    }

    /// How its documents are printed.
    pub fn form(&self) -> Form {
        match self {
            Self::Watch(args) if !args.once => Form::Lines,
            _ => Form::Whole,
        }
    }

    /// Whether it changes nothing of mail and state, whatever happens.
    pub fn only_looks(&self) -> bool {
        match self {
            Self::Peer(args) => matches!(args.command, PeerCommand::List { .. }),
            Self::Key(args) => matches!(args.command, KeyCommand::Show { .. }),
            Self::Jobs(args) => matches!(args.command, JobsCommand::List),
            Self::Trash(args) => matches!(args.command, TrashCommand::List { .. } | TrashCommand::Show { .. }),
            Self::Status(_) | Self::Log(_) | Self::Inspect(_) | Self::Verify(_) | Self::Completions { .. } => true,
            _ => self.dry_run() == Some(true),
        }
    }

    /// Whether it only tells what it would do; `None` for commands that can't be asked for that.
    pub fn dry_run(&self) -> Option<bool> {
        match self {
            Self::Scan(args) => Some(args.dry_run),
            Self::Export(args) => Some(args.dry_run),
            Self::Import(args) => Some(args.dry_run),
            Self::Restore(args) => Some(args.dry_run),
            Self::Undo(args) => Some(args.dry_run),
            Self::Doctor(args) => Some(args.dry_run),
            Self::Deinit(args) => Some(args.dry_run),
            Self::Trash(args) => match args.command {
                TrashCommand::Restore { dry_run, .. } => Some(dry_run),
                TrashCommand::List { .. } | TrashCommand::Show { .. } => None,
            },
            Self::Init(_)
            | Self::Invite(_)
            | Self::Join(_)
            | Self::Peer(_)
            | Self::Key(_)
            | Self::Update(_)
            | Self::Watch(_)
            | Self::Uux(_)
            | Self::Jobs(_)
            | Self::Purge(_)
            | Self::Status(_)
            | Self::Log(_)
            | Self::Inspect(_)
            | Self::Verify(_)
            | Self::Completions { .. }
            | Self::Man { .. } => None,
        }
    }
}
