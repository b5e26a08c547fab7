-- For dashboards: chains, events, lineage and costs, without a text: no instruction, no transcript, no question or answer, no
-- failure's message.
-- With psql: psql -v role=bi -f reader.sql, and USAGE on the schema of your tables.
GRANT USAGE ON SCHEMA session_chain TO :"role";
GRANT SELECT ON session_chain.chain_overview, session_chain.step_overview, session_chain.migrations, session_chain.events,
  session_chain.trimmed_events TO :"role";
GRANT SELECT ON session_chain.chain_ends, session_chain.spend_days TO :"role";
GRANT SELECT (id, project_id, version_id, build_id, chain, step, round, role, attempt, session_id, base_session_id, adopts,
  state, worker, started_at, seen_at, ended_at) ON session_chain.attempts TO :"role";
GRANT SELECT (chain, step, round, role, activity, task_queue, session_id, seq, state, calls, started_at, ended_at)
  ON session_chain.activity_steps TO :"role";
GRANT SELECT (id, project_id, session_id, parent_session_id, entries, messages, appended_bytes, context_tokens, created_at,
  appended_at, sealed_at, quarantined_at, given_up_at) ON session_chain.sessions TO :"role";
GRANT SELECT (project_id, last_ai_session_id, last_ai_session_updated_at, session_seq, session_epoch) ON projects TO :"role";
GRANT SELECT (id, version_id, project_id, status, created_at, ai_session_id, ai_session_last_used_at)
  ON project_versions TO :"role";
GRANT SELECT (id, project_id, version_id, old_session_id, new_session_id, source, created_at, seq, prev_seq,
  parent_session_id, step, attempt_id, rewound_to) ON session_transitions TO :"role";
GRANT SELECT (id, project_id, version_id, old_session_id, new_session_id, source, created_at, seq,
  parent_session_id, step, attempt_id, rewound_to, archived_at) ON session_chain.session_transitions_archive TO :"role";
GRANT SELECT ON session_chain.session_transitions_all TO :"role";
GRANT SELECT (session_id, project_id, version_id, build_id, step, attempt_id, outcome, turn_in_flight_unknown, model,
  agent_version, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, usage_by_model, cost_usd, cost_derived,
  turns, duration_ms, api_duration_ms, created_at) ON project_ai_session_metrics TO :"role";
GRANT SELECT (session_id, project_id, question_id, message_id, state, kind, read_when, aside, head_session_id, ai_session_id,
  asked_at, answered_at) ON project_chat_log_minimal TO :"role";
GRANT EXECUTE ON FUNCTION session_chain.project_key, session_chain.version_key, session_chain.transition_project_key,
  session_chain.all_transitions, session_chain.every_transition, session_chain.line_of_heads, session_chain.is_rewound, session_chain.was_head, session_chain.session_ancestors,
  session_chain.events_horizon TO
  :"role";
