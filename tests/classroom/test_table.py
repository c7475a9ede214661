"""What went wrong in the classroom program that the lab replaces, what was asked of it, and the tests that show each.

Left out until they are here: the agreed order of ISIS, a causal order, experiments in batches.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

FAILURES: dict[str, list[str]] = {
    # 1. Waiting for everybody
    "one READY that is lost hangs everybody": [
        "tests/classroom/test_starting_and_ending.py::test_a_ready_or_its_confirmation_that_is_lost_is_said_again",
        "tests/classroom/test_starting_and_ending.py::test_readies_that_never_come_end_the_run_and_it_is_said_whose",
        "tests/peer/test_ready_ack.py::test_whatever_the_wire_does",
    ],
    "whoever waits burns a processor": [
        "tests/classroom/test_idle.py::test_a_peer_that_waits_for_others_does_not_ask_again_and_again",
        "tests/classroom/test_idle.py::test_a_peer_that_has_nothing_to_send_yet_does_not_loop_until_it_has",
    ],
    "a READY that is said again counts twice": [
        "tests/peer/test_ready_ack.py::test_members_are_counted_and_not_messages",
    ],
    # 2. Who is ready before the others
    "data that comes during the handshake is thrown away": [
        "tests/peer/test_ready_ack.py::test_early_packets_are_held_and_handed_up_in_order",
        "tests/classroom/test_starting_and_ending.py::test_what_comes_before_a_peer_has_begun_is_not_thrown_away",
        "tests/classroom/test_starting_and_ending.py::test_nobody_sends_before_everybody_has_reached_everybody",
    ],
    "a stop that is lost keeps a receiver from ending, and its log from coming": [
        "tests/classroom/test_starting_and_ending.py::test_an_end_that_is_lost_is_said_again",
    ],
    "fixed sleeps hide all this": [
        "tests/classroom/test_source.py::test_nothing_waits_for_a_fixed_time",
        "tests/classroom/test_processes.py::test_no_process_sleeps_starts_a_thread_or_loads_a_pickle",
    ],
    # 3. One round after the other
    "datagrams of the last round spoil the next": [
        "tests/classroom/test_run_after_run.py::test_datagrams_of_the_last_run_do_not_spoil_the_next",
        "tests/peer/drivers/test_udp.py::test_what_comes_after_the_end_of_a_run_is_dropped",
    ],
    "a receiver of the last round reads what is for the next": [
        "tests/classroom/test_source.py::test_nothing_runs_in_a_thread_and_nothing_is_locked",
        "tests/peer/test_session.py::test_one_run_at_a_time",
    ],
    "clock, queues and stop flags are not reset": [
        "tests/classroom/test_run_after_run.py::test_a_stack_begins_every_run_as_the_first",
        "tests/classroom/test_run_after_run.py::test_a_process_begins_every_run_as_the_first",
    ],
    # 4. Ending and beginning again
    "an exit() in a thread ends that thread only": [
        "tests/classroom/test_processes.py::test_who_is_told_to_end_ends_wholly",
        "tests/classroom/test_source.py::test_nothing_runs_in_a_thread_and_nothing_is_locked",
    ],
    "the address is still in use when a server is started again": [
        "tests/group_manager/test_service.py::test_the_port_can_be_taken_again_at_once",
        "tests/classroom/test_who_is_there.py::test_the_comparison_server_can_be_started_again_at_once",
    ],
    # 5. The group manager
    "a peer that is started again is listed twice, started twice, and has two numbers": [
        "tests/classroom/test_who_is_there.py::test_a_peer_that_is_started_again_is_one_peer",
        "tests/group_manager/test_membership.py::test_a_restarted_peer_is_one_peer_at_its_new_endpoint",
    ],
    "the dead stay in the list": [
        "tests/classroom/test_who_is_there.py::test_a_peer_that_is_gone_is_listed_no_more",
        "tests/group_manager/test_membership.py::test_a_lease_is_renewed_by_heartbeats_and_ends_without",
    ],
    "connections to the group manager are never closed": [
        "tests/classroom/test_who_is_there.py::test_connections_of_the_group_manager_do_not_pile_up",
    ],
    "who registers, or asks for something unknown, gets no reply": [
        "tests/group_manager/test_service.py::test_what_it_does_not_understand_gets_a_reply",
        "tests/group_manager/test_service.py::test_a_reply_repeats_the_id_of_its_request",
        "tests/group_manager/test_membership.py::test_what_makes_no_sense_is_refused_in_a_sentence_and_harms_nothing",
    ],
    "the server does not look whether all are there, and hangs": [
        "tests/classroom/test_who_is_there.py::test_the_server_knows_how_many_are_there_before_it_begins",
        "tests/comparison_server/test_service.py::test_who_registered_but_did_not_connect_is_named",
    ],
    "the server breaks off when a peer refuses the connection": [
        (
            "tests/classroom/test_who_is_there.py::"
            "test_a_peer_that_is_not_there_is_neither_waited_for_without_end_nor_a_crash"
        ),
        (
            "tests/experiments/test_failures.py::"
            "test_a_peer_that_is_killed_ends_the_run_which_says_when_and_the_others_logs_are_judged"
        ),
    ],
    # 6. Addresses
    "without the internet no peer learns its own address": [
        "tests/classroom/test_processes.py::test_nobody_outside_is_asked_for_anything",
    ],
    "the public address cannot be bound": [
        "tests/classroom/test_who_is_there.py::test_an_address_that_is_seen_from_outside_only_is_not_bound",
        (
            "tests/comparison_server/test_service.py::"
            "test_another_address_can_be_advertised_and_an_open_one_is_made_definite"
        ),
    ],
    "a peer cannot send to itself through what stands before its address": [
        "tests/classroom/test_who_is_there.py::test_own_messages_do_not_go_over_the_network",
    ],
    "a number made from the name of the machine fails where that name is not known": [
        "tests/classroom/test_who_is_there.py::test_a_name_is_a_name_and_never_looked_up",
    ],
    "fixed ports must be open for every peer, TCP ones too": [
        "tests/classroom/test_processes.py::test_a_peer_listens_on_one_udp_port_of_no_fixed_number_and_on_no_tcp_port",
        "tests/comparison_server/test_interactive.py::test_a_spawned_manager_listens_where_it_is_told_to",
    ],
    # 7. Identity
    "two peers on one machine are impossible": [
        "tests/classroom/test_who_is_there.py::test_peers_on_one_machine_are_told_apart",
    ],
    "a peer's number is known only after the start, and learned from a READY": [
        "tests/classroom/test_who_is_there.py::test_everybody_knows_its_place_and_all_names_before_anybody_has_spoken",
        "tests/comparison_server/test_service.py::test_members_are_those_of_the_settings_in_their_order",
    ],
    # 8. Sizes
    "a log that is larger than 32768 bytes, or comes in two segments, cannot be read": [
        "tests/classroom/test_who_is_there.py::test_logs_come_as_their_peers_wrote_them",
        "tests/comparison_server/test_service.py::test_large_logs_come_through_cuts_and_damage",
    ],
    "what does not fit the socket at once is not sent": [
        "tests/peer/test_switchboard.py::test_more_than_it_takes_is_queued_and_sent_when_there_is_room",
    ],
    "a list of peers that is larger than 2048 bytes is cut": [
        "tests/classroom/test_who_is_there.py::test_a_list_of_any_length_comes_whole",
    ],
    "a datagram that is larger than 1024 bytes is cut": [
        "tests/classroom/test_who_is_there.py::test_a_message_larger_than_a_datagram_arrives",
    ],
    # 9. Lamport's order with acks
    "what is sent again is delivered again": [
        "tests/classroom/test_delivering.py::test_what_is_sent_again_is_delivered_once",
    ],
    "an ack that is lost between two others blocks one of them for ever": [
        "tests/classroom/test_delivering.py::test_an_ack_that_is_lost_between_two_others_is_sent_again",
    ],
    "a confirmation that comes while READYs are waited for is overlooked": [
        "tests/classroom/test_starting_and_ending.py::test_a_confirmation_counts_whenever_it_comes",
    ],
    "what is left in the queue at the end is thrown away": [
        "tests/classroom/test_starting_and_ending.py::test_nothing_is_left_undelivered_at_the_end",
        "tests/classroom/test_starting_and_ending.py::test_a_queue_that_cannot_be_emptied_is_told_as_an_error",
    ],
    "threads race for flags, and change a table that another goes through": [
        "tests/classroom/test_source.py::test_nothing_runs_in_a_thread_and_nothing_is_locked",
        "tests/classroom/test_processes.py::test_no_process_sleeps_starts_a_thread_or_loads_a_pickle",
    ],
    "the wait for one's own acks may never end": [
        "tests/classroom/test_starting_and_ending.py::test_a_queue_that_cannot_be_emptied_is_told_as_an_error",
        (
            "tests/comparison_server/test_coordinator.py::"
            "test_the_draining_ends_when_nothing_has_moved_for_long_and_says_what_is_held"
        ),
        "tests/comparison_server/test_coordinator.py::test_the_deadline_holds_even_while_things_move",
        "tests/experiments/test_simulator.py::test_a_network_that_loses_everything",
    ],
    "an ack overtakes an earlier message of the same peer, which is then delivered too late": [
        "tests/classroom/test_delivering.py::test_an_ack_never_overtakes_an_earlier_message_of_the_same_peer",
        "tests/test_teeth.py::test_a_link_that_does_not_keep_order",
    ],
    "the own clock is not moved by what is received": [
        "tests/classroom/test_delivering.py::test_a_receipt_moves_the_clock",
        "tests/test_teeth.py::test_clock_not_moved_by_received_data",
    ],
    # 10. Agreed orders
    "nothing is delivered until all have stopped": [
        "tests/classroom/test_delivering.py::test_nobody_waits_for_the_ends_before_it_delivers",
    ],
    "locks are taken in two orders and nobody goes on": [
        "tests/classroom/test_source.py::test_nothing_runs_in_a_thread_and_nothing_is_locked",
    ],
    "acks are counted by stamp, which two messages may share": [
        "tests/classroom/test_delivering.py::test_messages_with_one_stamp_do_not_share_their_acks",
    ],
    # 11. Vector clocks
    "a delivery moves the sender's own count, and others wait for the number between": [
        "tests/classroom/test_delivering.py::test_what_a_sender_delivers_makes_no_gap_in_its_own_numbers",
    ],
    "a causal order is judged by whether logs are equal": [
        (
            "tests/comparison_server/test_properties.py::"
            "test_causal_order_leaves_messages_free_that_know_nothing_of_each_other"
        ),
    ],
    # 12. Loops
    "the public address is looked up for every message": [
        "tests/classroom/test_processes.py::test_nobody_outside_is_asked_for_anything",
        "tests/classroom/test_who_is_there.py::test_a_name_is_a_name_and_never_looked_up",
    ],
    "the prompt breaks off at what is no number": [
        "tests/comparison_server/test_prompt.py::test_nonsense_is_told_what_is_expected_and_asked_again",
        (
            "tests/comparison_server/test_interactive.py::"
            "test_it_asks_until_it_gets_a_number_runs_asks_again_and_ends_with_0"
        ),
    ],
    "the prompt ends, and peers and group manager stay": [
        (
            "tests/comparison_server/test_interactive.py::"
            "test_peers_and_manager_that_were_there_before_play_and_end_with_it"
        ),
    ],
    # Comparing logs
    "the last round is not looked at": ["tests/classroom/test_comparing.py::test_the_last_round_counts"],
    "the last log to arrive is not compared": [
        "tests/classroom/test_comparing.py::test_the_last_log_to_arrive_is_compared",
    ],
    "with two peers nothing is compared": ["tests/classroom/test_comparing.py::test_two_peers_are_compared"],
    "of all deliveries only as many are compared as one peer sent": [
        "tests/classroom/test_comparing.py::test_all_deliveries_are_compared_and_not_as_many_as_one_peer_sent",
    ],
    "the first log to arrive is the reference": [
        "tests/classroom/test_comparing.py::test_the_first_log_to_arrive_is_no_reference",
    ],
    "a short log is a crash": ["tests/classroom/test_comparing.py::test_a_short_log_is_no_crash"],
    "what only a longer log holds is ignored": [
        "tests/classroom/test_comparing.py::test_what_only_one_log_holds_is_not_ignored",
    ],
    "only the first log's length is checked": [
        "tests/classroom/test_comparing.py::test_the_length_of_every_log_is_looked_at",
    ],
    "loss and disorder are mixed up": ["tests/classroom/test_comparing.py::test_loss_is_not_taken_for_disorder"],
    "duplicates are not noticed": ["tests/classroom/test_comparing.py::test_a_duplicate_is_noticed"],
    "logs are sorted before they are compared": [
        "tests/classroom/test_comparing.py::test_logs_are_not_sorted_before_they_are_compared",
        "tests/classroom/test_who_is_there.py::test_logs_come_as_their_peers_wrote_them",
        "tests/comparison_server/test_verdict.py::test_a_log_that_was_sorted_at_the_end_is_said_to_be",
    ],
    "what was said is compared, and not who said it": [
        "tests/classroom/test_comparing.py::test_the_sender_counts_and_not_what_was_said_alone",
    ],
    "peers are counted instead of rounds": [
        "tests/classroom/test_comparing.py::test_rounds_are_counted_and_not_peers",
    ],
    # What everything was sent as
    "bytes from the network are unpickled": [
        "tests/classroom/test_who_is_there.py::test_a_pickle_is_not_loaded_by_anybody",
    ],
}

FEATURES: dict[str, list[str]] = {
    "group manager: register, list": [
        "tests/group_manager/test_membership.py::test_who_registers_is_listed_in_that_order_and_found",
        "tests/classroom/test_who_is_there.py::test_a_list_of_any_length_comes_whole",
    ],
    "group manager: unregister": [
        "tests/classroom/test_who_is_there.py::test_who_ends_unregisters",
        "tests/group_manager/test_membership.py::test_unregister_ends_it_at_once_and_tells_whether_it_was_there",
    ],
    "group manager: stop": ["tests/group_manager/test_service.py::test_it_ends_when_it_is_told_to_and_says_so_first"],
    "group manager: a reply to everything": [
        "tests/group_manager/test_service.py::test_what_it_does_not_understand_gets_a_reply",
    ],
    "group manager: everybody once": [
        "tests/classroom/test_who_is_there.py::test_a_peer_that_is_started_again_is_one_peer",
    ],
    "group manager: only who lives": [
        "tests/classroom/test_who_is_there.py::test_a_peer_that_is_gone_is_listed_no_more",
        (
            "tests/experiments/test_failures.py::"
            "test_a_group_manager_that_is_killed_and_comes_back_is_filled_again_and_the_run_completes"
        ),
    ],
    "a prompt that asks again, and 0 ends all": [
        (
            "tests/comparison_server/test_interactive.py::"
            "test_it_asks_until_it_gets_a_number_runs_asks_again_and_ends_with_0"
        ),
        "tests/comparison_server/test_interactive.py::test_a_lesson_on_a_terminal",
    ],
    "a start that everybody makes together": [
        "tests/classroom/test_starting_and_ending.py::test_nobody_sends_before_everybody_has_reached_everybody",
    ],
    "a handshake that is confirmed and said again, with distinct peers": [
        "tests/classroom/test_starting_and_ending.py::test_a_ready_or_its_confirmation_that_is_lost_is_said_again",
        "tests/peer/test_ready_ack.py::test_members_are_counted_and_not_messages",
        "tests/peer/test_ready_ack.py::test_a_late_ready_is_confirmed",
    ],
    "random gaps, 10 to 99 ms unless told otherwise, the same for one seed": [
        "tests/classroom/test_sending.py::test_between_two_messages_passes_a_random_time_within_bounds",
        "tests/classroom/test_sending.py::test_the_moments_follow_from_the_seed_and_differ_between_peers",
    ],
    "no order": [
        "tests/classroom/test_regions.py::test_without_an_order_the_disorder_grows_with_the_distance",
        "tests/peer/test_orderings.py::test_unordered_delivers_what_arrives_as_it_arrives",
    ],
    "FIFO order": [
        "tests/peer/test_orderings.py::test_fifo_holds_back_what_is_beyond_a_gap",
        "tests/conformance/test_promises.py::test_promises_are_kept",
        "tests/conformance/test_promises.py::test_what_is_not_promised_is_seen_broken",
    ],
    "total order by Lamport's clock, with acks": [
        "tests/classroom/test_regions.py::test_a_total_order_has_none_at_any_distance",
        "tests/peer/test_orderings.py::test_lamport_delivers_nothing_before_everybody_has_answered",
        "tests/explorer/test_counts.py::test_nothing_is_found_and_nothing_is_left",
    ],
    "total order by a sequencer": [
        "tests/classroom/test_regions.py::test_a_total_order_has_none_at_any_distance",
        "tests/peer/test_orderings.py::test_the_sequencer_numbers_and_everybody_delivers_by_number",
    ],
    "sent again what was lost, delivered once what came twice": [
        "tests/classroom/test_delivering.py::test_what_is_sent_again_is_delivered_once",
        "tests/peer/test_ack_resend.py::test_whatever_the_wire_does",
    ],
    "an END, and an end in order": [
        "tests/classroom/test_starting_and_ending.py::test_an_end_that_is_lost_is_said_again",
        "tests/classroom/test_starting_and_ending.py::test_nothing_is_left_undelivered_at_the_end",
        "tests/classroom/test_processes.py::test_who_is_told_to_end_ends_wholly",
    ],
    "several runs by the same processes, each with a name of its own": [
        "tests/classroom/test_run_after_run.py::test_the_same_processes_play_one_run_after_the_other",
        "tests/experiments/test_local.py::test_several_runs_in_a_row_by_the_same_processes",
    ],
    "a log file of each peer": ["tests/classroom/test_who_is_there.py::test_logs_come_as_their_peers_wrote_them"],
    "logs of any size are collected": [
        "tests/comparison_server/test_delivery_log.py::test_logs_of_any_size_arrive_as_they_were",
        (
            "tests/comparison_server/test_big_logs.py::"
            "test_logs_come_whole_over_connections_that_break_and_are_judged_in_time"
        ),
    ],
    "comparing: every round of every log": [
        "tests/classroom/test_comparing.py::test_all_deliveries_are_compared_and_not_as_many_as_one_peer_sent",
        "tests/comparison_server/test_against_plain_judge.py::test_agrees_on_a_thousand_runs",
    ],
    "comparing: logs of any lengths": [
        "tests/classroom/test_comparing.py::test_a_short_log_is_no_crash",
        "tests/classroom/test_comparing.py::test_what_only_one_log_holds_is_not_ignored",
    ],
    "comparing: what each log lacks, repeats, and should not hold": [
        "tests/analysis/test_report.py::test_logs_that_lack_messages_or_repeat_them_are_told",
        "tests/comparison_server/test_properties.py::test_a_message_that_its_sender_did_not_multicast_is_foreign",
    ],
    "comparing: where logs part first": [
        "tests/classroom/test_comparing.py::test_it_is_told_where_logs_part_first_and_who_held_what",
    ],
    "comparing: round by round": [
        "tests/analysis/test_report.py::test_logs_side_by_side_where_they_part",
        "tests/analysis/test_exporters.py::test_csv_rows",
    ],
    "a replicated account: deposits and interest": [
        "tests/comparison_server/test_replicas.py::test_balances_differ_everywhere_or_nowhere",
        "tests/comparison_server/test_replicas.py::test_a_balance_by_hand",
    ],
    "a replicated table: insert, update, delete, query": [
        "tests/comparison_server/test_replicas.py::test_the_answers_of_queries_by_hand",
        "tests/comparison_server/test_replicas.py::test_the_documented_scenarios_show_what_they_are_for",
    ],
    "a conversation that makes sense, or does not": [
        (
            "tests/comparison_server/test_replicas.py::"
            "test_fifo_keeps_what_one_speaker_says_in_order_and_no_order_does_not"
        ),
    ],
    "regions: delay, jitter and loss on every link": [
        "tests/peer/test_link_model.py::test_as_much_is_lost_as_was_asked_for",
        "tests/peer/test_link_model.py::test_jitter_is_added_and_spread_evenly",
        "tests/conformance/test_bounds.py::test_in_real_time_a_message_alone_takes_its_floor",
    ],
    "one region against two": [
        "tests/classroom/test_regions.py::test_without_an_order_the_disorder_grows_with_the_distance",
    ],
    "many peers on one machine, each with a port of its own": [
        "tests/classroom/test_who_is_there.py::test_peers_on_one_machine_are_told_apart",
        "tests/classroom/test_processes.py::test_a_peer_listens_on_one_udp_port_of_no_fixed_number_and_on_no_tcp_port",
    ],
    "no service outside": ["tests/classroom/test_processes.py::test_nobody_outside_is_asked_for_anything"],
    "the logical clock shows in the logs": [
        "tests/analysis/test_exporters.py::test_text_has_a_line_a_delivery_with_its_stamp",
    ],
    "no pickle": [
        "tests/classroom/test_source.py::test_nothing_is_unpickled_or_evaluated",
        "tests/classroom/test_who_is_there.py::test_a_pickle_is_not_loaded_by_anybody",
    ],
}

TABLE = FAILURES | FEATURES


@cache
def found_in(file):
    """The tests of a file by name, with their docstrings."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    names = [function.name for function in functions]
    assert len(set(names)) == len(names), f"{file} has two tests of one name, of which only the last one is run"
    return {function.name: ast.get_docstring(function) or "" for function in functions}


def own_tests():
    """The tests beside this file, as (file, name, docstring)."""
    files = sorted(str(path.relative_to(ROOT)) for path in HERE.glob("test_*.py") if path.name != "test_table.py")
    return [(file, name, docstring) for file in files for name, docstring in found_in(file).items()]


@pytest.mark.parametrize("row", TABLE)
def test_every_test_of_the_table_is_there(row):
    assert TABLE[row], "nothing shows it"
    for node in TABLE[row]:
        file, _, name = node.partition("::")
        assert (ROOT / file).is_file() and name in found_in(file), node


def test_no_row_is_a_failure_and_a_feature_at_once():
    assert not set(FAILURES) & set(FEATURES)


def test_the_table_names_all_that_is_tested_beside_it():
    named = {node for nodes in TABLE.values() for node in nodes}
    named.add("tests/classroom/test_source.py::test_each_of_these_rules_complains")
    assert [f"{file}::{name}" for file, name, _ in own_tests() if f"{file}::{name}" not in named] == []


def test_every_one_of_these_says_what_makes_it_fail():
    assert [name for _, name, docstring in own_tests() if not docstring.startswith("Fails if ")] == []
