use std::path::Component;

use proptest::prelude::*;

use super::*;

const KINDS: [LayoutKind; 2] = [LayoutKind::MaildirPlusPlus, LayoutKind::Fs];
const ENCODINGS: [NameEncoding; 2] = [NameEncoding::Utf8, NameEncoding::ModifiedUtf7];

fn layout(kind: LayoutKind, encoding: NameEncoding) -> Layout {
    Layout { kind, encoding, inbox_at_root: kind == LayoutKind::MaildirPlusPlus }
}

fn layouts() -> impl Iterator<Item = Layout> {
    KINDS
        .into_iter()
        .flat_map(|kind| ENCODINGS.map(|encoding| layout(kind, encoding)))
        .chain(ENCODINGS.map(|encoding| Layout { inbox_at_root: true, ..layout(LayoutKind::Fs, encoding) }))
}

fn name(text: &str) -> FolderName {
    text.parse().unwrap()
}

fn holds(layout: Layout, folder: &str, dir: &str) {
    assert_eq!(layout.dir_of(&name(folder)), Path::new(dir), "{layout:?}");
    assert_eq!(layout.folder_of(Path::new(dir)), Some(name(folder)), "{layout:?}");
}

#[test]
fn usual_names_are_written_as_other_programs_write_them() {
    let courier = layout(LayoutKind::MaildirPlusPlus, NameEncoding::ModifiedUtf7);
    holds(courier, "INBOX", "");
    holds(courier, "Sent", ".Sent");
    holds(courier, "Archive/2019", ".Archive.2019");
    holds(courier, "INBOX/Lists", ".INBOX.Lists");
    holds(courier, "Entwürfe", ".Entw&APw-rfe");
    holds(courier, "Tom & Jerry", ".Tom &- Jerry");
    let dovecot = layout(LayoutKind::MaildirPlusPlus, NameEncoding::Utf8);
    holds(dovecot, "Entwürfe/Архив", ".Entwürfe.Архив");
    holds(dovecot, "Entw&APw-rfe", ".Entw&APw-rfe");
    let fs = layout(LayoutKind::Fs, NameEncoding::Utf8);
    holds(fs, "INBOX", "INBOX");
    holds(fs, "Archive/2019.old", "Archive/2019.old");
    holds(fs, ".hidden", ".hidden");
    holds(Layout { inbox_at_root: true, ..fs }, "INBOX", "");
}

#[test]
fn a_dot_in_a_component_is_escaped_where_it_would_separate() {
    for encoding in ENCODINGS {
        let layout = layout(LayoutKind::MaildirPlusPlus, encoding);
        holds(layout, "lists/debian.org", ".lists.debian\\2eorg");
        holds(layout, ".hidden", ".\\2ehidden");
        // Text that looks like an escape is not one.
        holds(layout, "debian\\2eorg", ".debian\\5c2eorg");
        holds(layout, "C:\\mail", ".C:\\mail");
    }
}

#[test]
fn what_means_something_else_on_disk_is_escaped() {
    let fs = layout(LayoutKind::Fs, NameEncoding::Utf8);
    holds(fs, "cur", "\\63ur");
    holds(fs, "a/tmp/new", "a/\\74mp/\\6eew");
    let at_root = Layout { inbox_at_root: true, ..fs };
    holds(at_root, "INBOX/cur", "INBOX/\\63ur");
    holds(layout(LayoutKind::MaildirPlusPlus, NameEncoding::Utf8), "cur", ".cur");
}

#[test]
fn a_directory_that_is_no_name_in_the_encoding_still_has_one() {
    let courier = layout(LayoutKind::MaildirPlusPlus, NameEncoding::ModifiedUtf7);
    holds(courier, "\u{f100}Entwürfe", ".Entwürfe");
    holds(courier, "\u{f100}INBOX", ".INBOX");
    holds(courier, "\u{f100}a&b", ".a&b");
    let fs = layout(LayoutKind::Fs, NameEncoding::Utf8);
    let latin = Path::new(OsStr::from_bytes(b"Entw\xfcrfe/2019"));
    assert_eq!(fs.folder_of(latin), Some(name("\u{f101}Entw\u{f0fc}rfe/2019")));
    assert_eq!(fs.dir_of(&name("\u{f101}Entw\u{f0fc}rfe/2019")), latin);
    // The same canonical name where it isn't the name of such a directory.
    assert_eq!(fs.dir_of(&name("\u{f100}Sent")), Path::new("\\ef\\84\\80Sent"));
}

#[test]
fn directories_without_a_name_have_none() {
    let courier = layout(LayoutKind::MaildirPlusPlus, NameEncoding::ModifiedUtf7);
    for dir in ["..a", ".a.", ".a..b", "...", ".", "..", "a"] {
        assert_eq!(courier.folder_of(Path::new(dir)), None, "{dir}");
    }
    assert_eq!(layout(LayoutKind::Fs, NameEncoding::Utf8).folder_of(Path::new("")), None);
}

/// What a file system does that knows neither case nor how an accent is put on a letter, as far as these tests need it.
fn folded(dir: &Path) -> Vec<u8> {
    let text = dir.as_os_str().to_string_lossy().to_lowercase();
    text.replace("\u{e9}", "e\u{301}").replace("\u{fc}", "u\u{308}").into_bytes()
}

#[test]
fn names_that_a_file_system_folds_into_one_can_be_spelled_out_apart() {
    let names =
        ["Work", "work", "WORK", "wOrk", "caf\u{e9}", "cafe\u{301}", "a:b", "a?b", "INBOX", "Inbox", "x.", "x "];
    for layout in layouts() {
        let mut all = std::collections::BTreeSet::new();
        for name in names.map(name) {
            let dir = layout.dir_spelled_out(&name);
            assert_eq!(layout.folder_of(&dir), Some(name.clone()), "{layout:?}: {dir:?}");
            let text = dir.to_str().unwrap();
            assert!(!text.contains(['\\', '?', '*', '<', '>', '|', '"', ':', ' ']), "{text}");
            assert!(all.insert(folded(&dir)), "{layout:?}: {dir:?}");
        }
    }
    let fs = layout(LayoutKind::Fs, NameEncoding::Utf8);
    assert_eq!(fs.dir_spelled_out(&name("Work/new")), Path::new("%57ork~/%6eew~"));
    let courier = layout(LayoutKind::MaildirPlusPlus, NameEncoding::ModifiedUtf7);
    assert_eq!(courier.dir_spelled_out(&name("Inbox")), Path::new(".%49nbox~"));
    assert_eq!(courier.dir_spelled_out(&name("a.b/Entw\u{fc}rfe")), Path::new(".a%2eb~.%45ntw%c3%bcrfe~"));
    // One that only looks like it is another folder, and has another directory.
    holds(fs, "%57ork~", "\\2557ork~");
    for other in ["%57ORK~", "%57ork", "%77ORK~", "%work~", "%4~", "~", "%2e~", "%41%62~"] {
        holds(fs, other, other);
    }
}

#[test]
fn a_folder_lies_below_its_parent_whatever_that_is_called() {
    let fs = layout(LayoutKind::Fs, NameEncoding::Utf8);
    let courier = layout(LayoutKind::MaildirPlusPlus, NameEncoding::ModifiedUtf7);
    for (layout, above, parent, folder, dir, out) in [
        (fs, None, "", "Work", "Work", "%57ork~"),
        (fs, Some("%57ork~"), "Work", "Work/A", "%57ork~/A", "%57ork~/%41~"),
        (courier, None, "", "Work", ".Work", ".%57ork~"),
        (courier, Some(".%57ork~"), "Work", "Work/A", ".%57ork~.A", ".%57ork~.%41~"),
        (courier, Some(".cafe"), "caf\u{e9}", "caf\u{e9}/x.y", ".cafe.x\\2ey", ".cafe.x%2ey~"),
    ] {
        let above = above.map(Path::new);
        assert_eq!(layout.dir_below(above, &name(folder), Spelling::Usual), Path::new(dir));
        assert_eq!(layout.dir_below(above, &name(folder), Spelling::Out), Path::new(out));
        if let Some(above) = above {
            for dir in [dir, out] {
                let found = layout.folder_below((above, &name(parent)), Path::new(dir));
                assert_eq!(found, Some(name(folder)), "{dir}");
            }
            for other in ["x", "%57ork~2/A", ".%57ork~2.A", ".cafeteria.x"] {
                assert_eq!(layout.folder_below((above, &name(parent)), Path::new(other)), None, "{other}");
            }
        }
    }
}

impl Layout {
    /// The directories that lead to a folder: each component as usual or spelled out.
    fn dirs_of(&self, folder: &FolderName) -> Vec<PathBuf> {
        if folder.is_inbox() && self.root_is_inbox() {
            return vec![PathBuf::new(), self.dir_spelled_out(folder)];
        }
        let mut dirs: Vec<Option<PathBuf>> = vec![None];
        let sole = folder.components().count() == 1;
        for depth in 1..=folder.components().count() {
            let spellings = [Spelling::Usual, Spelling::Out];
            let prefix = folder.first(depth);
            let below = |above: &Option<PathBuf>, spelling| {
                // A first component is written otherwise if it is the only one.
                let above = above.as_deref().or((!sole).then_some(Path::new("")));
                self.dir_below(above, &prefix, spelling)
            };
            dirs = dirs.iter().flat_map(|above| spellings.map(|spelling| Some(below(above, spelling)))).collect();
        }
        dirs.into_iter().flatten().collect()
    }
}

#[test]
fn names_longer_than_the_file_system_allows_are_cut_and_stay_apart() {
    for layout in layouts() {
        let mut dirs = std::collections::BTreeSet::new();
        for text in
            ["x".repeat(1024), format!("{}y", "x".repeat(1023)), "ü".repeat(512), "a/".repeat(200) + &"日".repeat(120)]
        {
            let dir = layout.dir_of(&name(&text));
            assert!(dir.iter().all(|part| part.len() <= NAME_MAX), "{layout:?}: {dir:?}");
            assert!(layout.is_cut(&dir));
            assert_eq!(layout.folder_of(&dir), None);
            assert!(dirs.insert(dir), "{layout:?}: {text}");
            let out = layout.dir_spelled_out(&name(&text));
            assert!(out.iter().all(|part| part.len() <= NAME_MAX), "{layout:?}: {out:?}");
            assert!(layout.is_cut(&out) && layout.folder_of(&out).is_none(), "{layout:?}: {out:?}");
            let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"%~./".contains(&c);
            assert!(out.as_os_str().as_bytes().iter().all(|&c| plain(c)), "{out:?}");
            assert!(dirs.insert(out), "{layout:?}: {text}");
        }
        // A folder that is called so has another directory.
        let looks_cut = format!("a%x{}~", "0".repeat(32));
        assert_eq!(layout.folder_of(&layout.dir_of(&name(&looks_cut))), Some(name(&looks_cut)));
        assert!(!layout.is_cut(&layout.dir_of(&name(&looks_cut))));
    }
    let fs = layout(LayoutKind::Fs, NameEncoding::Utf8);
    let whole = name(&format!("{}/b", "x".repeat(300)));
    assert_eq!(fs.dir_of(&whole).parent(), Some(&*fs.dir_of(&name(&"x".repeat(300)))));
    assert!(!fs.is_cut(&fs.dir_of(&name(&"x".repeat(255)))));
}

/// Names with parts that could be mistaken for something else.
fn components() -> impl Strategy<Value = String> {
    let pieces = [
        ".",
        "..",
        "\\",
        "\\2e",
        "\\5c",
        "\\ef\\84\\80",
        "2e",
        "&",
        "&-",
        "&APw-",
        "-",
        "ü",
        "日",
        "📬",
        "\n",
        "cur",
        "new",
        "tmp",
        "INBOX",
        "a",
        "~",
        "\u{f100}",
        "\u{f101}",
        "\u{f0fc}",
        "\u{f02e}",
        "\u{f02f}",
        "\u{f100}INBOX",
        "\\x",
        "00112233445566778899aabbccddeeff",
        "%",
        "%x",
        "%57ork",
        "%57ork~",
        "W",
        "%77~",
        "cafe\u{301}",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 1..5).prop_map(|pieces| pieces.concat())
}

fn folders() -> impl Strategy<Value = FolderName> {
    let text = prop::collection::vec(components(), 1..4).prop_map(|components| components.join("/"));
    text.prop_filter_map("a folder's name", |text| text.parse().ok())
}

/// Directories as other programs might have made them.
fn directories() -> impl Strategy<Value = Vec<u8>> {
    let bytes = prop::collection::vec(prop::sample::select(b".a\\2e&-\xfc\xc3\n~".to_vec()), 1..8);
    let part = prop_oneof![components().prop_map(String::into_bytes), bytes];
    prop::collection::vec(part, 1..4).prop_map(|parts| parts.join(&b'/'))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_folder_has_a_directory_below_the_mail_root_that_leads_back_to_it(folder in folders()) {
        for layout in layouts() {
            let dir = layout.dir_of(&folder);
            prop_assert!(dir.components().all(|part| matches!(part, Component::Normal(_))), "{dir:?}");
            prop_assert!(!dir.as_os_str().as_bytes().contains(&0));
            prop_assert_eq!(layout.folder_of(&dir), Some(folder.clone()), "{:?}: {:?}", layout, dir);
            if layout.kind == LayoutKind::Fs {
                let is_sub = |part: &OsStr| part == "cur" || part == "new" || part == "tmp";
                prop_assert!(!dir.iter().any(is_sub));
            } else if !folder.is_inbox() {
                prop_assert!(dir.iter().count() == 1 && dir.as_os_str().as_bytes().starts_with(b"."));
            }
        }
    }

    #[test]
    fn every_directory_that_is_a_folder_is_the_directory_of_this_folder(bytes in directories()) {
        for layout in layouts() {
            let dir = match layout.kind {
                LayoutKind::Fs => bytes.clone(),
                LayoutKind::MaildirPlusPlus => {
                    let name: Vec<u8> = bytes.iter().copied().filter(|&c| c != b'/').collect();
                    [b".", &*name].concat()
                }
            };
            let is_sub = |part: &[u8]| matches!(part, b"cur" | b"new" | b"tmp");
            if dir.split(|&c| c == b'/').any(is_sub) {
                continue;
            }
            let dir = Path::new(OsStr::from_bytes(&dir));
            let folder = layout.folder_of(dir);
            if let Some(folder) = &folder {
                prop_assert!(layout.dirs_of(folder).contains(&dir.to_owned()), "{:?}: {:?} {:?}", layout, folder, dir);
            } else if layout.kind == LayoutKind::Fs && !layout.is_cut(dir) {
                let mut parts = dir.as_os_str().as_bytes().split(|&c| c == b'/');
                let unusual = parts.any(|part| matches!(part, b"" | b"." | b"..") || part.contains(&0));
                prop_assert!(unusual, "{dir:?} has no name");
            }
        }
    }
}
