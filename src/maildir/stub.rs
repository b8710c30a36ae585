#![allow(missing_docs)]
use crate::model::*;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Sub {
    New = 0,
    Cur = 1,
}
impl Sub {
    pub fn as_str(self) -> &'static str {
        match self {
            Sub::New => "new",
            Sub::Cur => "cur",
        }
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileName<'a> {
    base: &'a [u8],
    info: Option<&'a [u8]>,
}
impl<'a> FileName<'a> {
    pub fn parse(name: &'a [u8]) -> Self {
        if let Some(at) = name.windows(3).rposition(|w| w == b":2,") {
            let info = &name[at + 3..];
            if info.iter().all(u8::is_ascii_alphanumeric) {
                return Self { base: &name[..at], info: Some(info) };
            }
        }
        Self { base: name, info: None }
    }
    pub fn base(&self) -> &'a [u8] {
        self.base
    }
    pub fn flags(&self, sub: Sub) -> FlagSet {
        let mut f: FlagSet = self.info.unwrap_or_default().iter().filter_map(|&c| Flag::info(c)).collect();
        if sub == Sub::New {
            f.insert(Flag::Recent);
        }
        f
    }
    pub fn ignored(name: &[u8]) -> bool {
        name.starts_with(b".")
    }
}
pub fn with_flags(base: &[u8], sub: Sub, flags: &FlagSet) -> Vec<u8> {
    let mut out = base.to_vec();
    let letters: Vec<u8> = flags.iter().filter_map(|f| if let Flag::Info(c) = f { Some(*c) } else { None }).collect();
    if sub == Sub::Cur || !letters.is_empty() {
        out.extend_from_slice(b":2,");
        out.extend(letters);
    }
    out
}
pub fn delivered_base(id: &EntryId, mtime: Mtime, size: u64, name: &str) -> String {
    let h = Digest::of(id.to_string().as_bytes()).to_string();
    format!("{}.{}.{name},S={size}", mtime.seconds().max(0), &h[..24])
}
pub fn is_ours(name: &[u8], replica: &str) -> bool {
    std::str::from_utf8(name).is_ok_and(|n| n.contains(&format!(".{replica},S=")))
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LayoutKind {
    #[serde(rename = "maildir++")]
    MaildirPlusPlus,
    #[serde(rename = "fs")]
    Fs,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NameEncoding {
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "utf-7")]
    ModifiedUtf7,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub kind: LayoutKind,
    pub encoding: NameEncoding,
    pub inbox_at_root: bool,
}
impl Layout {
    pub fn dir_of(&self, f: &FolderName) -> PathBuf {
        if f.is_inbox() && (self.kind == LayoutKind::MaildirPlusPlus || self.inbox_at_root) {
            return PathBuf::new();
        }
        match self.kind {
            LayoutKind::Fs => PathBuf::from(f.as_str()),
            LayoutKind::MaildirPlusPlus => PathBuf::from(format!(".{}", f.as_str().replace('/', "."))),
        }
    }
    pub fn folder_of(&self, dir: &Path) -> Option<FolderName> {
        let s = dir.to_str()?;
        if s.is_empty() {
            return Some(FolderName::inbox());
        }
        match self.kind {
            LayoutKind::Fs => s.parse().ok(),
            LayoutKind::MaildirPlusPlus => s.strip_prefix('.')?.replace('.', "/").parse().ok(),
        }
    }
}
pub struct Detected {
    pub layout: Layout,
    pub folders: usize,
    pub empty: bool,
    pub notes: Vec<String>,
}
pub fn detect_layout(root: &Path, wanted: Option<LayoutKind>) -> Detected {
    let mut folders = 0;
    let mut dotted = false;
    let mut plain = false;
    let mut items = 0;
    let at_root = root.join("cur").is_dir() || root.join("new").is_dir();
    for e in walkdir::WalkDir::new(root).into_iter().flatten() {
        if e.depth() > 0 && e.depth() == 1 {
            items += 1;
        }
        if e.file_type().is_dir() && (e.path().join("cur").is_dir() || e.path().join("new").is_dir()) {
            folders += 1;
            if e.depth() > 0 {
                if e.file_name().as_bytes().starts_with(b".") { dotted = true } else { plain = true }
            }
        }
    }
    let kind = wanted.unwrap_or(if plain && !dotted { LayoutKind::Fs } else { LayoutKind::MaildirPlusPlus });
    Detected {
        layout: Layout {
            kind,
            encoding: NameEncoding::Utf8,
            inbox_at_root: at_root || kind == LayoutKind::MaildirPlusPlus,
        },
        folders,
        empty: items == 0,
        notes: vec![],
    }
}
pub fn tmp_dirs(root: &Path) -> Vec<PathBuf> {
    walkdir::WalkDir::new(root)
        .into_iter()
        .flatten()
        .filter(|e| e.file_type().is_dir() && e.file_name() == OsStr::new("tmp"))
        .map(walkdir::DirEntry::into_path)
        .collect()
}
