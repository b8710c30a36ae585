//! The source files know each other one way: no circle of files, and no arrow from a lower floor to a higher one. No
//! file is so long that nobody reads it whole. And what writes to the disk does it through the disk layer.
//!
//! What counts as an arrow is a path of the crate in a file's code: `use`, or one that is written out. That a module
//! declares those below it, or shows what they define, is none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, Visibility};

/// The floors, from the lowest: what stands on one may know those on it and below. What isn't named has a floor of its
/// own, above all.
const FLOORS: &[&[&str]] = &[
    &["meter", "pool", "read", "text"],
    &["error", "headline", "message"],
    &["model"],
    &["disk", "process"],
    &["bundle", "maildir", "allow"],
    &["config"],
    &["state"],
    &["replica"],
    &["cli"],
];

/// The most lines of a source file, those of its unit tests not counted.
const MOST_LINES: usize = 500;

/// What of `std::fs` changes something on the disk, or opens a file for that.
const WRITES: &[&str] = &[
    "DirBuilder",
    "OpenOptions",
    "Permissions",
    "copy",
    "create",
    "create_dir",
    "create_dir_all",
    "create_new",
    "hard_link",
    "options",
    "remove_dir",
    "remove_dir_all",
    "remove_file",
    "rename",
    "set_permissions",
    "symlink",
    "write",
];
/// What is done to an open file that changes it, or makes it durable.
const WRITING_METHODS: &[&str] = &["persist", "set_modified", "set_permissions", "set_times", "sync_all", "sync_data"];
/// What of `rustix::fs` only looks.
const LOOKS: &[&str] = &[
    "AtFlags",
    "CWD",
    "FileType",
    "OFlags",
    "StatxFlags",
    "fcntl_getfl",
    "fstat",
    "major",
    "minor",
    "statvfs",
    "statx",
];

/// A module's path from the crate's root.
type Name = Vec<String>;

/// What a file says of others.
#[derive(Debug, Default)]
struct Source {
    /// Paths from the crate's root that its code names.
    paths: BTreeSet<Name>,
    /// Names that it shows as its own, and where they come from.
    shown: Vec<(String, Name)>,
    /// What it names that writes to the disk.
    writes: BTreeSet<String>,
    /// Lines without those of its unit tests.
    lines: usize,
}

struct Reader<'a> {
    name: &'a Name,
    modules: &'a BTreeSet<Name>,
    source: Source,
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|argument| argument.is_ident("test"))
    })
}

impl Reader<'_> {
    /// The path from the crate's root, if the path is one of the crate.
    fn absolute(&self, path: &[String]) -> Option<Name> {
        // The modules below the program's root are those below the library's.
        let here = if self.name == &[String::from("main")] { &[] } else { &self.name[..] };
        let mut base = match path.first()?.as_str() {
            "crate" | "mailsync" => Vec::new(),
            "self" | "super" => here.to_vec(),
            child => {
                let name = [here, &[child.to_owned()]].concat();
                self.modules.contains(&name).then_some(())?;
                here.to_vec()
            }
        };
        for part in path {
            match part.as_str() {
                "crate" | "mailsync" | "self" => {}
                "super" => drop(base.pop()?),
                part => base.push(part.to_owned()),
            }
        }
        Some(base)
    }

    /// Notes a path that leads to something that writes to the disk.
    fn look_for_writes(&mut self, path: &[String]) {
        let pairs = path.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str()));
        let of_rustix = path.first().is_some_and(|first| first == "rustix");
        let writes = |(of, what): (&str, &str)| match of {
            "fs" if of_rustix => !LOOKS.contains(&what),
            "fs" | "File" => WRITES.contains(&what),
            "OpenOptions" | "DirBuilder" | "tempfile" => true,
            _ => false,
        };
        if pairs.into_iter().any(writes) {
            self.source.writes.insert(path.join("::"));
        }
    }

    fn add_use(&mut self, tree: &UseTree, before: &[String], shows: bool) {
        let with = |name: String| [before, &[name]].concat();
        let (path, name) = match tree {
            UseTree::Path(path) => return self.add_use(&path.tree, &with(path.ident.to_string()), shows),
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.add_use(tree, before, shows));
            }
            UseTree::Name(name) if name.ident == "self" => {
                (before.to_vec(), before.last().cloned().unwrap_or_default())
            }
            UseTree::Name(name) => (with(name.ident.to_string()), name.ident.to_string()),
            UseTree::Rename(rename) => (with(rename.ident.to_string()), rename.rename.to_string()),
            UseTree::Glob(_) => (before.to_vec(), String::from("*")),
        };
        self.look_for_writes(&path);
        let Some(path) = self.absolute(&path) else { return };
        if shows && path.starts_with(self.name) {
            self.source.shown.push((name, path));
        } else {
            self.source.paths.insert(path);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let Some((_, items)) = &module.content else { return };
        let name = [&self.name[..], &[module.ident.to_string()]].concat();
        let mut inner = Reader { name: &name, modules: self.modules, source: Source::default() };
        for item in items {
            inner.visit_item(item);
        }
        self.source.paths.append(&mut inner.source.paths);
        self.source.writes.append(&mut inner.source.writes);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_use(&item.tree, &[], !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let method = call.method.to_string();
        if WRITING_METHODS.contains(&&*method) {
            self.source.writes.insert(format!(".{method}()"));
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.look_for_writes(&parts);
        if parts.len() > 1
            && let Some(path) = self.absolute(&parts)
        {
            self.source.paths.insert(path);
        }
        visit::visit_path(self, path);
    }
}

/// Lines up to the unit tests.
fn lines_of(text: &str) -> usize {
    text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count()
}

fn sources() -> &'static BTreeMap<Name, Source> {
    // To read them all is what the tests here take their time for.
    static ALL: LazyLock<BTreeMap<Name, Source>> = LazyLock::new(read_sources);
    &ALL
}

fn read_sources() -> BTreeMap<Name, Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut texts = BTreeMap::new();
    for item in walkdir::WalkDir::new(&root).sort_by_file_name() {
        let item = item.unwrap();
        if item.path().extension().is_some_and(|extension| extension == "rs") {
            let inner = item.path().strip_prefix(&root).unwrap().with_extension("");
            let mut name: Name = inner.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
            if matches!(name.last().map(String::as_str), Some("mod" | "lib" | "main")) {
                let last = name.pop();
                if last.as_deref() == Some("main") {
                    name.push(String::from("main"));
                }
            }
            texts.insert(name, fs::read_to_string(item.path()).unwrap());
        }
    }
    let modules: BTreeSet<Name> = texts.keys().cloned().collect();
    let read = |(name, text): (&Name, &String)| {
        let mut reader = Reader { name, modules: &modules, source: Source::default() };
        reader.visit_file(&syn::parse_file(text).unwrap());
        (name.clone(), Source { lines: lines_of(text), ..reader.source })
    };
    // Files that hold unit tests alone are declared so by the file above them.
    let for_tests =
        |name: &Name| matches!(name.last().map(String::as_str), Some("tests" | "testing" | "hostile" | "example"));
    texts.iter().filter(|(name, _)| !for_tests(name)).map(read).collect()
}

/// The file in which stands what a path names.
fn file_of(path: &[String], sources: &BTreeMap<Name, Source>, trail: usize) -> Option<Name> {
    let module = (0..=path.len()).rev().map(|length| &path[..length]).find(|name| sources.contains_key(*name))?;
    let Some(next) = path.get(module.len()) else { return Some(module.to_vec()) };
    let mut shown = sources[module].shown.iter().filter(|(name, _)| name == next || name == "*");
    match shown.next() {
        Some((_, from)) if trail < 10 => file_of(from, sources, trail + 1),
        _ => Some(module.to_vec()),
    }
}

fn arrows(sources: &BTreeMap<Name, Source>) -> BTreeMap<Name, BTreeSet<Name>> {
    let of = |(name, source): (&Name, &Source)| {
        let files = source.paths.iter().filter_map(|path| file_of(path, sources, 0));
        (name.clone(), files.filter(|file| file != name).collect())
    };
    sources.iter().map(of).collect()
}

/// Everything that can be reached from a file.
fn reached(from: &Name, arrows: &BTreeMap<Name, BTreeSet<Name>>) -> BTreeSet<Name> {
    let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(file) = next.pop() {
        for to in &arrows[file] {
            if reached.insert(to.clone()) {
                next.push(to);
            }
        }
    }
    reached
}

fn floor(name: &Name) -> usize {
    let first = name.first().map_or("lib", String::as_str);
    FLOORS.iter().position(|floor| floor.contains(&first)).unwrap_or(FLOORS.len())
}

#[test]
fn no_file_knows_one_that_knows_it() {
    let arrows = arrows(sources());
    let circles: Vec<_> = arrows
        .keys()
        .filter_map(|file| {
            let reached = reached(file, &arrows);
            let back: Vec<_> =
                reached.iter().filter(|other| arrows[*other].contains(file)).map(|other| other.join("/")).collect();
            reached.contains(file).then(|| format!("{} is known to {}", file.join("/"), back.join(", ")))
        })
        .collect();
    assert!(circles.is_empty(), "circles of files:\n{}", circles.join("\n"));
}

#[test]
fn no_floor_knows_a_higher_one() {
    let mut upwards = Vec::new();
    for (from, to) in arrows(sources()) {
        let higher = to.iter().filter(|to| floor(to) > floor(&from));
        upwards.extend(higher.map(|to| format!("{} knows {}", from.join("/"), to.join("/"))));
    }
    assert!(upwards.is_empty(), "arrows from a lower floor to a higher one:\n{}", upwards.join("\n"));
}

#[test]
fn no_file_is_too_long() {
    let long = sources().iter().filter(|(_, source)| source.lines > MOST_LINES);
    let long: Vec<_> = long.map(|(name, source)| format!("{}: {} lines", name.join("/"), source.lines)).collect();
    assert!(long.is_empty(), "files of more than {MOST_LINES} lines:\n{}", long.join("\n"));
}

#[test]
fn the_arrows_of_a_known_file_are_found() {
    let arrows = arrows(sources());
    let of = |parts: &[&str]| parts.iter().map(ToString::to_string).collect::<Name>();
    let meeting = &arrows[&of(&["model", "meeting"])];
    assert!(meeting.contains(&of(&["model", "entry"])), "through the names that model/ shows: {meeting:?}");
    assert!(!arrows[&of(&["state", "peers"])].is_empty() && !arrows[&of(&["main"])].is_empty());
}

#[test]
fn only_the_disk_layer_writes_to_the_disk() {
    let is_the_layer = |name: &Name| name.first().is_some_and(|first| first == "disk");
    let (layer, others): (Vec<_>, Vec<_>) = sources().iter().partition(|(name, _)| is_the_layer(name));
    let wrong: Vec<_> = others
        .into_iter()
        .filter(|(_, source)| !source.writes.is_empty())
        .map(|(name, source)| format!("{}: {:?}", name.join("/"), source.writes))
        .collect();
    assert!(wrong.is_empty(), "files that don't write through the disk layer:\n{}", wrong.join("\n"));
    // What is looked for is found where it is.
    let found: BTreeSet<&str> = layer.into_iter().flat_map(|(_, source)| &source.writes).map(String::as_str).collect();
    for expected in
        ["fs::rename", "fs::OpenOptions::new", "rustix::fs::renameat_with", ".sync_all()", "tempfile::SpooledTempFile"]
    {
        assert!(found.contains(expected), "{expected} of {found:?}");
    }
}
