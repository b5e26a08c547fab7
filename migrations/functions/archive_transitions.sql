-- Moves the oldest transitions of a project that are due, see last_due_transition, to the archive, at most p_limit, and returns
-- how many. From a table of the host only where p_host_tables allows it; what the row has in columns of the host goes along as text, in `host`.
CREATE FUNCTION session_chain.archive_transitions(p_project text, p_days integer, p_limit integer, p_host_tables boolean)
RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  v_host text;
  v_moved integer;
BEGIN
  PERFORM session_chain.lock_project(p_project);
  IF session_chain.why_left_alone(p_project) IS NOT NULL
     OR NOT (p_host_tables OR (SELECT i.owns_host_tables FROM session_chain.installation i)) THEN
    RETURN 0;
  END IF;
  PERFORM session_chain.print_exactly();
  SELECT string_agg(format('(%L, g.%I::text)', c.name, c.name), ', ' ORDER BY c.name) INTO v_host
    FROM session_chain.transition_columns() c WHERE NOT c.is_ours;
  EXECUTE format('WITH due AS MATERIALIZED (
      SELECT t.seq FROM session_transitions t
      WHERE t.project_id = session_chain.transition_project_key($1) AND t.seq <= $2 ORDER BY t.seq LIMIT $3
    ), gone AS (
      DELETE FROM session_transitions t USING due
      WHERE t.project_id = session_chain.transition_project_key($1) AND t.seq = due.seq RETURNING t.*
    )
    INSERT INTO session_chain.session_transitions_archive (project_id, seq, id, version_id, old_session_id, new_session_id,
      source, created_at, parent_session_id, step, attempt_id, rewound_to, host)
    SELECT $1, g.seq, g.id::text, g.version_id::text, g.old_session_id, g.new_session_id, g.source, g.created_at,
      g.parent_session_id, g.step, g.attempt_id, g.rewound_to,
      %s FROM gone g', CASE WHEN v_host IS NULL THEN '''{}''::jsonb'
        ELSE format('(SELECT jsonb_object_agg(h.name, h.value) FROM (VALUES %s) AS h (name, value))', v_host) END)
    USING p_project, session_chain.last_due_transition(p_project, p_days), p_limit;
  GET DIAGNOSTICS v_moved = ROW_COUNT;
  RETURN v_moved;
END
$$;
