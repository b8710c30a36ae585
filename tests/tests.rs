//! All tests that run mailsync, through its binary or through its library, as one program: each file is a module, and
//! its name says what it shows. `cargo test --test tests NAME` runs those whose file or test has NAME in its name.
//!
//! None needs a process of its own. They run beside each other in one, so none may change what all its threads share:
//! its environment, its working directory, its umask. What takes all processors takes turns.

// A table of cases, or the steps of a person, are read line by line however many they are.
#![allow(clippy::too_many_lines)]

mod first_day;
mod network_on_disk;
mod papers;
mod simulation;
mod support;
mod vectors;

mod a_bundle_can_be_encrypted_in_transit;
mod a_bundle_can_be_read_without_mailsync;
mod a_bundle_in_a_file_is_for_the_eyes_of_its_recipient;
mod a_crash_around_a_job_never_runs_it_twice;
mod a_crash_at_any_step_loses_nothing;
mod a_delta_costs_what_it_holds;
mod a_file_that_is_there_stays;
mod a_first_day_gets_its_answers;
mod a_job_that_failed_is_noticed;
mod a_key_can_have_a_passphrase;
mod a_killed_command_is_repeated_without_harm;
mod a_lie_is_no_truth_for_being_repeated;
mod a_lost_machine_is_shut_out;
mod a_message_too_large_for_a_file_is_left_out;
mod a_network_of_replicas_on_disk_converges;
mod a_new_key_takes_the_place_of_the_old_one;
mod a_new_machine_joins_by_invitation;
mod a_new_machine_takes_the_place_of_a_lost_one;
mod a_refusal_can_be_looked_at;
mod a_replica_becomes_none_and_the_mail_stays;
mod a_replica_moves_and_loses_nothing;
mod a_replica_that_has_taken_bad_things_in_is_repaired;
mod a_state_put_back_is_noticed;
mod a_stolen_key_is_shut_out_with_all_that_follow_it;
mod a_thief_who_speaks_first_is_shut_out_by_a_person;
mod an_import_happens_in_order;
mod an_invitation_is_opened_by_its_code;
mod an_old_bundle_gets_no_answer;
mod another_mail_root_is_noticed;
mod bad_input_is_refused;
mod changes_on_both_sides_at_once;
mod claims_that_can_not_be_true_are_refused;
mod clocks_that_are_wrong_do_no_lasting_harm;
mod commands_do_what_they_say;
mod delivery_agents_deliver_where_mailsync_works;
mod dovecot_and_mailsync_share_a_maildir;
mod dovecot_lays_out_mail_as_mailsync_does;
mod each_claim_of_the_threat_model_has_a_test;
mod each_command_is_interrupted_at_each_call;
mod each_command_is_interrupted_at_each_system_call;
mod each_line_about_a_mail_program_has_a_test;
mod each_mistake_gets_the_words_that_help;
mod folders_follow_each_other;
mod forgetting_removals_is_safe_in_every_history;
mod guards_can_not_be_walked_around;
mod hooks_are_told_what_has_changed;
mod init_takes_no_wrong_directory;
mod jobs_of_others_have_limits;
mod jobs_that_a_peer_twists_do_no_harm;
mod keywords_travel_by_name;
mod machines_share_a_folder;
mod mail_is_sent_through_a_peer;
mod mail_lies_on_odd_file_systems;
mod mail_programs_move_mail_while_it_is_scanned;
mod mail_that_vanished_can_be_got_back;
mod mbsync_renames_are_no_new_mail;
mod mbsync_runs_on_both_sides_of_an_account;
mod mutt_and_notmuch_find_what_was_imported;
mod names_of_files_are_understood_and_kept;
mod names_that_a_file_system_changes_stay_apart;
mod no_bytes_at_all_do_harm;
mod nobody_else_reads_or_writes_what_is_kept;
mod nobody_waits_for_a_slow_peer;
mod odd_files_do_no_harm;
mod one_bad_message_keeps_nothing_back;
mod one_kind_of_fault_has_one_exit_code;
mod pages_keep_to_the_program;
mod peers_run_what_they_are_asked;
mod removals_are_forgotten_when_everybody_knows;
mod replicas_that_exchange_bundles_converge;
mod shared_folders_stay_shared;
mod shells_complete_what_the_replica_knows;
mod ssh_carries_bundles;
mod the_bench_keeps_what_was_measured;
mod the_fixtures_travel_between_the_layouts;
mod the_help_is_complete_at_80_columns;
mod the_layers_hold;
mod the_log_tells_what_went_wrong;
mod the_sizes_are_those_of_files;
mod the_status_is_that_of_the_disk;
mod the_vectors_are_what_they_say;
mod the_version_names_its_commit;
mod times_that_are_set_back_hide_nothing;
mod units_run_what_the_program_has;
mod update_calls_the_peers;
mod watch_does_it_by_itself;
mod what_a_directory_says_of_a_theft_counts_in_any_order;
mod what_a_directory_says_of_its_files_is_true;
mod what_a_folder_cannot_take_waits;
mod what_a_liar_has_told_is_taken_back;
mod what_a_lost_machine_has_brought_is_held_by_all_or_told;
mod what_a_revoked_replica_did_is_passed_over;
mod what_a_stick_or_a_stream_brings_is_told_apart;
mod what_a_thief_hides_is_laid_to_it;
mod what_cannot_be_looked_at_is_not_taken_for_removed;
mod what_commands_print_is_kept;
mod what_is_ignored_is_unknown;
mod what_is_kept_of_jobs_and_peers_is_bounded;
mod what_is_said_is_what_is_done;
mod what_people_read_fits_their_terminal;
mod what_programs_read_is_as_its_schema_says;
mod what_somebody_did_is_told_and_taken_back;
mod what_synchronisers_write_is_no_part_of_a_message;
mod what_the_far_side_says_is_marked;
mod what_the_papers_show_works;
mod what_was_allowed_by_mistake_comes_back;
mod what_was_missing_comes_once;
mod which_mails_is_told;
mod whom_a_bundle_is_for_is_told;

#[test]
fn every_file_beside_this_one_is_a_module_of_it() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let modules: Vec<&str> = include_str!("tests.rs").lines().filter_map(|line| line.strip_prefix("mod ")).collect();
    for name in support::names(&here) {
        let name = name.strip_suffix(".rs").unwrap_or(&name);
        assert!(name == "tests" || modules.contains(&&*format!("{name};")), "tests/{name} is not run");
    }
}
