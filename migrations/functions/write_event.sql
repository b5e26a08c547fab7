-- Writes an event, for the triggers alone. Its id is drawn under the lock of the project's row, which the change itself
-- holds already: within a project ids rise in the order of the commits. Over all projects a lower id may become visible
-- later. So a transaction tells in pg_locks, before it draws its first id, what the sequence stood at: events_horizon
-- stays below. The key of that lock is the number modulo 2^31. No event is notified: commits that notify follow one another,
-- those of all databases of the server; see tell_waiters.
CREATE FUNCTION session_chain.write_event(
  p_project text, p_version text, p_build text, p_chain bigint, p_type text, p_data jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_transaction text := pg_current_xact_id()::text;
BEGIN
  PERFORM 1 FROM projects p WHERE p.project_id = session_chain.project_key(p_project) FOR NO KEY UPDATE;
  IF current_setting('session_chain.event_transaction', true) IS DISTINCT FROM v_transaction THEN
    PERFORM pg_advisory_xact_lock_shared(hashtext('session_chain events'), (
      SELECT ((s.last_value - (NOT s.is_called)::integer) % 2147483648)::integer FROM session_chain.events_id_seq s));
    PERFORM set_config('session_chain.event_transaction', v_transaction, true);
  END IF;
  INSERT INTO session_chain.events (id, project_id, version_id, build_id, chain, type, data)
    OVERRIDING SYSTEM VALUE
    VALUES (session_chain.new_id('session_chain.events_id_seq'), p_project, p_version, p_build, p_chain, p_type, p_data);
END
$$;
