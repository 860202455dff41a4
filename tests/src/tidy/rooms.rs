//! Which room of a crate imports which: a room is a module that stands in its `lib.rs`, with all that is below it.
//!
//! The rows of [`table`] are a crate's rooms from top to bottom, and a room imports only rooms in rows below its own. So
//! there is no loop that a row could allow, and a room is understood with what stands below it. Each row names its
//! imports one by one, and only those that there are: that one room needs another is a decision, seen in a change.

mod table;

use std::collections::{BTreeMap, BTreeSet};

use super::code;
use super::{Problem, Tree};

/// Where the rows are, for whoever has to change them.
const TABLE: &str = "tests/src/tidy/rooms/table.rs";

/// A crate's rooms.
#[derive(Debug)]
struct CrateRooms {
    /// Where its `lib.rs` is.
    folder: &'static str,
    /// Each room with the rooms that it imports, all of them in rows below.
    rows: Vec<(&'static str, Vec<&'static str>)>,
    /// Imports of a room in a row above, each with the reason why it stays: from, to, why.
    loops: &'static [(&'static str, &'static str, &'static str)],
}

/// One place where a room takes something from another.
#[derive(Debug, PartialEq, Eq)]
struct Import<'a> {
    from: &'a str,
    to: String,
    path: String,
    line: usize,
}

/// Each room imports the rooms that its row names, and a row names rooms below it only.
#[must_use]
pub fn rooms_import_only_rooms_below(tree: &Tree) -> Vec<Problem> {
    table::crates().iter().flat_map(|of| of.problems(tree)).collect()
}

impl CrateRooms {
    /// Reads rows of the form `room: import import ...`.
    fn new(
        folder: &'static str,
        rows: &'static str,
        loops: &'static [(&'static str, &'static str, &'static str)],
    ) -> Self {
        let lines = rows.lines().map(str::trim).filter(|line| !line.is_empty());
        let rows = lines.map(|line| line.split_once(':').unwrap_or((line, "")));
        Self { folder, rows: rows.map(|(room, imports)| (room, imports.split_whitespace().collect())).collect(), loops }
    }

    fn problems(&self, tree: &Tree) -> Vec<Problem> {
        let files = code::files_under(tree, self.folder);
        let rooms: BTreeSet<&str> = files.iter().filter_map(|(path, _)| room_of(path)).collect();
        let from_root = taken_by_root(&files);
        let mut problems = self.wrong_rows(&rooms);
        let mut made = BTreeSet::new();
        for import in imports(self.folder, &files, &rooms) {
            let room = rooms.get(import.to.as_str()).copied().or_else(|| from_root.get(&import.to).map(String::as_str));
            let what = match room {
                None => Some(format!("`crate::{}` is no room, nor a name that lib.rs takes from one", import.to)),
                Some(room) if room == import.from => None,
                Some(room) => {
                    made.insert((import.from.to_owned(), room.to_owned()));
                    self.refusal(import.from, room)
                }
            };
            problems.extend(what.map(|what| Problem { path: import.path, line: import.line, what }));
        }
        problems.extend(self.unneeded(&made));
        problems
    }

    /// Rooms and rows that do not belong together.
    fn wrong_rows(&self, rooms: &BTreeSet<&str>) -> Vec<Problem> {
        let mut whats = Vec::new();
        for room in rooms.iter().filter(|room| self.row(room).is_none()) {
            whats.push(format!("the room `{room}` has no row: put it above the rooms that it imports"));
        }
        for (at, (room, imports)) in self.rows.iter().enumerate() {
            if !rooms.contains(room) || self.row(room) != Some(at) {
                whats.push(format!("there is no room `{room}`, or a row of it already: take this row out"));
            }
            for to in imports.iter().filter(|to| self.row(to).is_none_or(|below| below <= at)) {
                whats.push(format!("the row of `{room}` names `{to}`, which is in no row below it: that is a loop"));
            }
        }
        for (from, to, why) in self.loops {
            if why.is_empty() || self.row(from) <= self.row(to) {
                whats.push(format!("the loop of `{from}` and `{to}` has no reason, or is none: take it out"));
            }
        }
        whats.into_iter().map(|what| self.of_table(&what)).collect()
    }

    fn row(&self, room: &str) -> Option<usize> {
        self.rows.iter().position(|(name, _)| *name == room)
    }

    /// Why `from` may not import `to`, if it may not.
    fn refusal(&self, from: &str, to: &str) -> Option<String> {
        let at = self.row(from)?;
        let is_named = self.rows.get(at).is_some_and(|(_, imports)| imports.contains(&to));
        let is_loop = self.row(to).is_some_and(|above| above < at);
        if is_named || self.loops.iter().any(|(a, b, _)| (*a, *b) == (from, to)) {
            None
        } else if is_loop {
            Some(format!("`{from}` may not import `{to}`, which stands above it: that is a loop"))
        } else {
            Some(format!("`{from}` may not import `{to}`: it is not in its row in {TABLE}"))
        }
    }

    /// What rows and loops allow and nobody needs.
    fn unneeded(&self, made: &BTreeSet<(String, String)>) -> Vec<Problem> {
        let named = self.rows.iter().flat_map(|(from, imports)| imports.iter().map(|to| (*from, *to)));
        let allowed = named.chain(self.loops.iter().map(|(from, to, _)| (*from, *to)));
        let unneeded = allowed.filter(|(from, to)| !made.contains(&((*from).to_owned(), (*to).to_owned())));
        unneeded.map(|(from, to)| self.of_table(&format!("`{from}` imports `{to}` nowhere: take it out"))).collect()
    }

    fn of_table(&self, what: &str) -> Problem {
        Problem::of_file(TABLE, format!("{}: {what}", self.folder))
    }
}

/// The room that a file below `src` is in: none for the crate's root and for programs.
fn room_of(path: &str) -> Option<&str> {
    let room = path.split('/').next()?.trim_end_matches(".rs");
    (!matches!(room, "lib" | "main" | "bin")).then_some(room)
}

/// Every place in the rooms where a path begins at the crate's root.
fn imports<'a>(folder: &str, files: &'a [(&'a str, String)], rooms: &BTreeSet<&str>) -> Vec<Import<'a>> {
    let mut imports = Vec::new();
    for (path, code) in files {
        let Some(from) = room_of(path) else { continue };
        // In a module within a file, `super` may be the file itself: then what follows is no room.
        let above =
            names_above(code, path.split('/').count()).into_iter().filter(|(_, to)| rooms.contains(to.as_str()));
        for (at, to) in names_from_root(code).into_iter().chain(above) {
            let line = code.get(..at).map_or(0, |before| before.matches('\n').count()) + 1;
            imports.push(Import { from, to, path: format!("{folder}/{path}"), line });
        }
    }
    imports
}

/// The first names of the paths behind `crate::`, with where they stand.
fn names_from_root(code: &str) -> Vec<(usize, String)> {
    let begins = code.match_indices("crate::").filter(|(at, _)| !is_within_path(code, *at));
    begins.flat_map(|(at, word)| names_at(code, at + word.len())).collect()
}

/// The first names of the paths behind so many `super::` that they lead to the root from a module of this `depth`.
fn names_above(code: &str, depth: usize) -> Vec<(usize, String)> {
    const UP: &str = "super::";
    let mut names = Vec::new();
    for (at, _) in code.match_indices(UP).filter(|(at, _)| !is_within_path(code, *at)) {
        let rest = code.get(at..).unwrap_or_default();
        let path = rest.trim_start_matches(UP);
        let up = rest.len() - path.len();
        if up >= depth * UP.len() {
            names.extend(names_at(code, at + up));
        }
    }
    names
}

fn is_within_word(code: &str, at: usize) -> bool {
    code.get(..at).unwrap_or_default().ends_with(|letter: char| letter.is_alphanumeric() || letter == '_')
}

fn is_within_path(code: &str, at: usize) -> bool {
    is_within_word(code, at) || code.get(..at).unwrap_or_default().ends_with("::")
}

/// The name at `at`, or the first name of each path in the braces there.
fn names_at(code: &str, at: usize) -> Vec<(usize, String)> {
    let rest = code.get(at..).unwrap_or_default();
    if !rest.starts_with('{') {
        return vec![(at, word_of(rest))];
    }
    let mut names = Vec::new();
    let mut depth = 0_usize;
    let mut is_next = false;
    for (offset, letter) in rest.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if depth == 1 && matches!(letter, '{' | ',') {
            is_next = true;
        } else if is_next && !letter.is_whitespace() {
            is_next = false;
            names.extend(rest.get(offset..).map(|path| (at + offset, word_of(path))).filter(|(_, word)| word != "}"));
        }
    }
    names
}

/// The word at the start of `text`, or its first letter where that begins none.
fn word_of(text: &str) -> String {
    let end = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len());
    let end = if end == 0 { text.chars().next().map_or(0, char::len_utf8) } else { end };
    text.get(..end).unwrap_or_default().to_owned()
}

/// Names that `lib.rs` takes from rooms, so that they can be had from the crate's root, each with its room.
fn taken_by_root(files: &[(&str, String)]) -> BTreeMap<String, String> {
    let mut taken = BTreeMap::new();
    let root = files.iter().find(|(path, _)| *path == "lib.rs").map_or("", |(_, code)| code.as_str());
    for statement in root.split(';').filter_map(|text| Some(text.rsplit_once("use ")?.1)) {
        let path = statement.trim_start_matches("self::").trim_start_matches("crate::");
        let mut words = path.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let room = words.next().unwrap_or_default();
        taken.extend(words.filter(|word| !word.is_empty()).map(|word| (word.to_owned(), room.to_owned())));
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = "
        handle: state store
        store: state
        state: id
        id:
    ";

    fn of() -> CrateRooms {
        CrateRooms::new("raft/src", ROWS, &[("id", "state", "both are one thing")])
    }

    /// A tree in which everything is as the of says.
    const FILES: [(&str, &str); 6] = [
        (
            "raft/src/lib.rs",
            "mod handle;\nmod id;\nmod state;\nmod store;\npub use state::{State, table::Table as Rows};\n",
        ),
        ("raft/src/handle.rs", "use crate::{state::State, store::{log, disk}};\n"),
        ("raft/src/store.rs", "use crate::State;\n"),
        ("raft/src/store/disk.rs", "fn f(x: &super::super::state::State) {}\n"),
        ("raft/src/state.rs", "use crate::id::NodeId;\nmod within { use super::State; }\n"),
        ("raft/src/id.rs", "//! See [`crate::handle`].\nuse crate::Table;\n#[cfg(test)]\nuse crate::handle::Raft;\n"),
    ];

    fn whats(of: &CrateRooms, files: &[(&str, &str)]) -> Vec<String> {
        let said = |problem: Problem| format!("{}:{}: {}", problem.path, problem.line, problem.what);
        of.problems(&Tree::of(files)).into_iter().map(said).collect()
    }

    /// The tree with one file in place of the one of its name, or besides.
    fn with(path: &'static str, text: &'static str) -> Vec<(&'static str, &'static str)> {
        FILES.into_iter().filter(|(name, _)| *name != path).chain([(path, text)]).collect()
    }

    #[test]
    fn a_tree_as_the_table_says_is_content() {
        assert_eq!(whats(&of(), &FILES), Vec::<String>::new());
    }

    #[test]
    fn an_import_that_no_row_names_is_refused_with_its_line_however_it_is_written() {
        let refused = "`store` may not import `id`: it is not in its row in tests/src/tidy/rooms/table.rs";
        for (text, line) in [
            ("use crate::State;\nuse crate::id::NodeId;\n", 2),
            ("use crate::{\n    State,\n    id::{NodeId, JobId},\n};\n", 3),
            ("use crate::State;\nfn f() -> Option<crate::id::NodeId> {}\n", 2),
            ("use crate::State;\npub use super::id;\n", 2),
            ("use crate::State;\npub use super::{id, state::{self, x}};\n", 2),
        ] {
            assert_eq!(
                whats(&of(), &with("raft/src/store.rs", text)),
                [format!("raft/src/store.rs:{line}: {refused}")]
            );
        }
    }

    #[test]
    fn an_import_from_below_is_called_a_loop() {
        let text = "use crate::id::NodeId;\nuse crate::store::Store;\n";
        let said = whats(&of(), &with("raft/src/state.rs", text));
        assert_eq!(
            said,
            ["raft/src/state.rs:2: `state` may not import `store`, which stands above it: that is a loop"]
        );
    }

    #[test]
    fn what_cannot_be_told_to_be_a_room_is_refused() {
        for (text, name) in
            [("use crate::*;\n", "*"), ("use crate::{self};\n", "self"), ("crate::shout!(1);\n", "shout")]
        {
            let said = whats(&of(), &with("raft/src/state/tokens.rs", text));
            let refused = format!("`crate::{name}` is no room, nor a name that lib.rs takes from one");
            assert_eq!(said, [format!("raft/src/state/tokens.rs:1: {refused}")]);
        }
    }

    #[test]
    fn a_room_without_a_row_and_a_row_without_a_room_are_named() {
        let mut files = with("raft/src/clock.rs", "");
        files.retain(|(path, _)| *path != "raft/src/id.rs" && *path != "raft/src/state.rs");
        files.push(("raft/src/state.rs", ""));
        let table = "tests/src/tidy/rooms/table.rs:0: raft/src:";
        assert_eq!(
            whats(&of(), &files),
            [
                format!("{table} the room `clock` has no row: put it above the rooms that it imports"),
                format!("{table} there is no room `id`, or a row of it already: take this row out"),
                format!("{table} `state` imports `id` nowhere: take it out"),
                format!("{table} `id` imports `state` nowhere: take it out"),
            ]
        );
    }

    #[test]
    fn a_row_cannot_allow_a_loop_and_a_loop_needs_a_reason_and_a_need() {
        let rows = "
            handle: state store
            store: state
            state: id handle
            id: id
        ";
        let of = CrateRooms::new(
            "raft/src",
            rows,
            &[("id", "state", ""), ("id", "store", "was once"), ("handle", "id", "is none")],
        );
        let table = "tests/src/tidy/rooms/table.rs:0: raft/src:";
        assert_eq!(
            whats(&of, &FILES),
            [
                format!("{table} the row of `state` names `handle`, which is in no row below it: that is a loop"),
                format!("{table} the row of `id` names `id`, which is in no row below it: that is a loop"),
                format!("{table} the loop of `id` and `state` has no reason, or is none: take it out"),
                format!("{table} the loop of `handle` and `id` has no reason, or is none: take it out"),
                format!("{table} `state` imports `handle` nowhere: take it out"),
                format!("{table} `id` imports `id` nowhere: take it out"),
                format!("{table} `id` imports `store` nowhere: take it out"),
                format!("{table} `handle` imports `id` nowhere: take it out"),
            ]
        );
    }
}
