-- Up to which transition those of a project are older than p_days, from the first one on: never the last one, to which the head
-- refers. Null where none is.
CREATE FUNCTION session_chain.last_due_transition(p_project text, p_days integer) RETURNS bigint
LANGUAGE sql STABLE AS $$
  SELECT min(t.seq) - 1 FROM (
    SELECT min(t.seq) AS seq FROM session_transitions t
    WHERE t.project_id = session_chain.transition_project_key(p_project) AND t.seq IS NOT NULL
      AND (t.created_at < clock_timestamp() - make_interval(days => p_days)) IS NOT TRUE
    UNION ALL
    SELECT max(t.seq) FROM session_transitions t WHERE t.project_id = session_chain.transition_project_key(p_project)
  ) t
$$;
