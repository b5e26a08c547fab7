-- What an application does: it starts chains, waits, reads, asks, cancels, records and rewinds. It writes to no table;
-- a head it moves by the functions of recorded operations alone, never under a chain.
-- With psql: psql -v role=app_client -f client.sql, and USAGE on the schema of your tables.
GRANT USAGE ON SCHEMA session_chain TO :"role";
GRANT SELECT ON session_chain.installation, session_chain.migrations, session_chain.routines, session_chain.chains,
  session_chain.attempts, session_chain.activity_steps, session_chain.briefs, session_chain.sessions,
  session_chain.transcript_texts, session_chain.transcript_batches, session_chain.live_chunks,
  session_chain.events, session_chain.trimmed_events, session_chain.chain_overview, session_chain.chain_ends,
  session_chain.workers, session_chain.archive_parts, session_chain.project_retention, session_chain.spend_days,
  session_chain.erasures, session_chain.session_transitions_archive, session_chain.session_transitions_all TO :"role";
GRANT SELECT (project_id, last_ai_session_id, last_ai_session_updated_at, session_seq, session_epoch) ON projects TO :"role";
GRANT SELECT (id, version_id, project_id, status, created_at, ai_session_id, ai_session_last_used_at, ai_metadata)
  ON project_versions TO :"role";
GRANT SELECT ON session_transitions, project_ai_session_metrics, chat_plan_sessions, project_chat_log_minimal TO :"role";
GRANT EXECUTE ON FUNCTION session_chain.register_chain, session_chain.request_stop, session_chain.wait_for, session_chain.release_chain,
  session_chain.record_question, session_chain.fail_question, session_chain.begin_recording,
  session_chain.commit_recording, session_chain.forget_recording, session_chain.adopt_outside_head,
  session_chain.copy_rewound, session_chain.lock_project, session_chain.give_up_session,
  session_chain.quarantine_session, session_chain.unbind_workspace, session_chain.why_left_alone, session_chain.events_horizon,
  session_chain.why_chain_fenced, session_chain.why_not_committed,
  session_chain.project_key, session_chain.version_key, session_chain.transition_project_key, session_chain.chat_key,
  session_chain.chat_log_key, session_chain.chat_log_project_key, session_chain.holder_of,
  session_chain.all_transitions, session_chain.every_transition, session_chain.line_of_heads, session_chain.is_of_another_project, session_chain.is_rewound,
  session_chain.was_head, session_chain.session_fitness, session_chain.session_ancestors TO :"role";
GRANT SELECT ON session_chain.erasures TO :"role";
GRANT EXECUTE ON FUNCTION session_chain.request_erasure TO :"role";
GRANT EXECUTE ON FUNCTION session_chain.hold_project, session_chain.release_project TO :"role";
