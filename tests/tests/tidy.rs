//! The source tree keeps the rules of docs/STYLE.md and docs/ARCHITECTURE.md that a program can check.

use pentora_tests::binaries::repository;
use pentora_tests::tidy::{self, Problem, Tree};

fn assert_tidy(check: fn(&Tree) -> Vec<Problem>) {
    let problems = check(&Tree::read(&repository()).expect("the source tree can be read"));
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    assert!(problems.is_empty(), "\n{}", lines.join("\n"));
}

#[test]
fn crates_import_only_what_they_may() {
    assert_tidy(tidy::crates_import_only_what_they_may);
}

#[test]
fn rooms_import_only_rooms_below() {
    assert_tidy(tidy::rooms_import_only_rooms_below);
}

#[test]
fn fuzz_targets_are_built_and_described() {
    assert_tidy(tidy::fuzz_targets_are_built_and_described);
}

#[test]
fn packages_stay_in_their_crate() {
    assert_tidy(tidy::packages_stay_in_their_crate);
}

#[test]
fn files_open_with_their_purpose() {
    assert_tidy(tidy::files_open_with_their_purpose);
}

#[test]
fn files_are_short() {
    assert_tidy(tidy::files_are_short);
}

#[test]
fn files_are_named_after_what_they_hold() {
    assert_tidy(tidy::files_are_named_after_what_they_hold);
}

#[test]
fn no_file_names_a_path_of_one_machine() {
    assert_tidy(tidy::no_path_of_one_machine);
}

#[test]
fn tests_are_named_as_sentences_and_all_run() {
    assert_tidy(tidy::tests_are_named_as_sentences_and_all_run);
}

#[test]
fn unsafe_stays_in_the_packet_rings() {
    assert_tidy(tidy::unsafe_stays_in_the_packet_rings);
}

#[test]
fn paths_in_the_architecture_exist() {
    assert_tidy(tidy::paths_in_the_architecture_exist);
}

#[test]
fn what_there_is_more_of_takes_few_files() {
    assert_tidy(tidy::what_there_is_more_of_takes_few_files);
}
