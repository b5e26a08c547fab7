-- What a worker does: it runs chains and answers questions. Heads and transitions it moves by functions alone.
-- With psql: psql -v role=app_worker -f worker.sql, and USAGE on the schema of your tables.
GRANT USAGE ON SCHEMA session_chain TO :"role";
GRANT SELECT ON session_chain.installation, session_chain.migrations, session_chain.routines, session_chain.chains,
  session_chain.attempts, session_chain.activity_steps, session_chain.briefs, session_chain.sessions,
  session_chain.transcript_texts, session_chain.transcript_batches, session_chain.workspace_searches,
  session_chain.live_chunks, session_chain.events, session_chain.trimmed_events, session_chain.chain_ends,
  session_chain.archive_parts, session_chain.project_retention, session_chain.spend_days,
  session_chain.session_transitions_archive, session_chain.session_transitions_all TO :"role";
GRANT SELECT (identity) ON session_chain.workers TO :"role";
GRANT UPDATE (failures) ON session_chain.chains TO :"role";
GRANT UPDATE (seen_at, adopts, evidence, calls) ON session_chain.attempts TO :"role";
GRANT UPDATE (parent_session_id, quarantined_at, quarantine_reason, sealed_at, entries, messages, context_tokens)
  ON session_chain.sessions TO :"role";
GRANT DELETE ON session_chain.transcript_batches TO :"role";
GRANT INSERT ON session_chain.briefs TO :"role";
GRANT INSERT, DELETE ON session_chain.live_chunks TO :"role";
GRANT INSERT, UPDATE, DELETE ON session_chain.workspace_searches TO :"role";
GRANT SELECT (project_id, last_ai_session_id, last_ai_session_updated_at, session_seq, session_epoch) ON projects TO :"role";
GRANT SELECT (id, version_id, project_id, status, created_at, ai_session_id, ai_session_last_used_at, ai_metadata)
  ON project_versions TO :"role";
GRANT SELECT ON session_transitions, project_ai_session_metrics, chat_plan_sessions, project_chat_log_minimal TO :"role";
GRANT UPDATE (state, failure, head_session_id) ON project_chat_log_minimal TO :"role";
GRANT EXECUTE ON FUNCTION session_chain.take_ends, session_chain.begin_end, session_chain.note_end,
  session_chain.renew_worker, session_chain.remove_worker TO :"role";
GRANT EXECUTE ON FUNCTION session_chain.open_chain, session_chain.release_chain, session_chain.close_chain,
  session_chain.chain_standing, session_chain.why_chain_fenced, session_chain.why_not_committed,
  session_chain.why_attempt_ended, session_chain.begin_operation, session_chain.commit_operation,
  session_chain.end_operation, session_chain.settle_step, session_chain.note_waiting, session_chain.note_skipped,
  session_chain.fail_question, session_chain.lease_part, session_chain.trim_events, session_chain.events_horizon, session_chain.begin_activity, session_chain.end_activity,
  session_chain.begin_recording, session_chain.commit_recording, session_chain.forget_recording,
  session_chain.adopt_outside_head, session_chain.append_entries, session_chain.append_to_copy, session_chain.write_metrics,
  session_chain.derive_cost, session_chain.due_details, session_chain.roll_up_part, session_chain.restore_details,
  session_chain.bind_workspace, session_chain.lock_project, session_chain.quarantine_session,
  session_chain.project_key, session_chain.version_key, session_chain.transition_project_key, session_chain.chat_key,
  session_chain.chat_log_key, session_chain.chat_log_project_key, session_chain.holder_of,
  session_chain.all_transitions, session_chain.every_transition, session_chain.archive_transitions, session_chain.restore_transitions,
  session_chain.why_left_alone, session_chain.needed_sessions, session_chain.last_due_transition, session_chain.due_sessions,
  session_chain.droppable_sessions, session_chain.texts_of_none_but, session_chain.plan_part, session_chain.leave_out_session,
  session_chain.verify_part, session_chain.drop_sessions,
  session_chain.line_of_heads, session_chain.is_of_another_project, session_chain.is_rewound,
  session_chain.was_head, session_chain.session_fitness, session_chain.session_ancestors TO :"role";
GRANT SELECT ON session_chain.erasures, session_chain.archive_parts, session_chain.workspaces TO :"role";
GRANT EXECUTE ON FUNCTION session_chain.stop_erased, session_chain.erase_rows, session_chain.note_erased,
  session_chain.finish_erasure TO :"role";
GRANT EXECUTE ON FUNCTION session_chain.begin_restore, session_chain.restore_part, session_chain.restore_texts,
  session_chain.restore_session, session_chain.restore_archived, session_chain.keep_restored,
  session_chain.note_restore_failure TO :"role";
