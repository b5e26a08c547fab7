-- For retention: archives transitions and transcripts, and drops what nothing needs any more. It deletes by functions alone, which
-- refuse what a head, a version, an attempt or an open chain needs.
-- With psql: psql -v role=ops -f archiver.sql, and USAGE on the schema of your tables.
GRANT USAGE ON SCHEMA session_chain TO :"role";
GRANT SELECT ON session_chain.chain_overview, session_chain.migrations, session_chain.installation, session_chain.sessions,
  session_chain.transcript_batches, session_chain.transcript_texts, session_chain.session_transitions_archive,
  session_chain.session_transitions_all, session_chain.archive_parts, session_chain.project_retention, session_chain.briefs
  TO :"role";
GRANT SELECT (id, project_id, version_id, build_id, chain, ticket, step, round, role, attempt, session_id, base_session_id, adopts,
  input_digest, epoch, worker, state, scheduled_at, started_at, seen_at, lease_ms, ended_at, result, value, failure, evidence,
  archive_part) ON session_chain.attempts TO :"role";
GRANT SELECT (id, project_id, closed_at) ON session_chain.chains TO :"role";
GRANT SELECT (project_id, last_ai_session_id, last_ai_session_updated_at, session_seq, session_epoch) ON projects TO :"role";
GRANT SELECT (id, version_id, project_id, status, created_at, ai_session_id, ai_session_last_used_at)
  ON project_versions TO :"role";
GRANT SELECT ON session_transitions, project_ai_session_metrics TO :"role";
GRANT EXECUTE ON FUNCTION session_chain.delete_session, session_chain.session_fitness, session_chain.project_key,
  session_chain.version_key, session_chain.transition_project_key, session_chain.all_transitions, session_chain.every_transition,
  session_chain.line_of_heads, session_chain.was_head, session_chain.why_left_alone, session_chain.needed_sessions,
  session_chain.last_due_transition, session_chain.archive_transitions, session_chain.restore_transitions,
  session_chain.due_sessions, session_chain.droppable_sessions, session_chain.texts_of_none_but, session_chain.due_details,
  session_chain.plan_part, session_chain.leave_out_session, session_chain.verify_part, session_chain.drop_sessions,
  session_chain.roll_up_part TO :"role";
