-- For retention: copies the audit and transcripts, and deletes what nothing needs any more. A transcript it deletes by
-- delete_session alone, which refuses what a head, a version or an attempt refers to.
-- With psql: psql -v role=ops -f archiver.sql, and USAGE on the schema of your tables.
GRANT USAGE ON SCHEMA session_chain TO :"role";
GRANT SELECT ON session_chain.chain_overview, session_chain.migrations, session_chain.sessions,
  session_chain.transcript_batches, session_chain.transcript_texts TO :"role";
GRANT SELECT (id, project_id, version_id, build_id, chain, step, round, attempt, session_id, base_session_id, adopts, state,
  started_at, ended_at) ON session_chain.attempts TO :"role";
GRANT SELECT (project_id, last_ai_session_id, last_ai_session_updated_at, session_seq, session_epoch) ON projects TO :"role";
GRANT SELECT (id, version_id, project_id, status, created_at, ai_session_id, ai_session_last_used_at)
  ON project_versions TO :"role";
GRANT SELECT, DELETE ON session_transitions TO :"role";
GRANT SELECT ON project_ai_session_metrics TO :"role";
GRANT EXECUTE ON FUNCTION session_chain.delete_session, session_chain.session_fitness, session_chain.project_key,
  session_chain.version_key, session_chain.transition_project_key, session_chain.line_of_heads, session_chain.was_head
  TO :"role";
