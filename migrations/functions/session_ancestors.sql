-- The sessions that a session comes from, nearest first: what it forked before what it replaced as head. `distance`
-- counts them. What a rewind replaced is no ancestor of it. UNION drops what was reached before, so that every session
-- is visited once.
CREATE FUNCTION session_chain.session_ancestors(p_project text, p_session text)
RETURNS TABLE (session_id text, distance integer)
LANGUAGE sql STABLE AS $$
  WITH RECURSIVE line (id) AS (
    SELECT p_session
    UNION
    SELECT nearer.id FROM (
      SELECT reached.id FROM (
        SELECT parent.id, parent.rank FROM line CROSS JOIN LATERAL (
          SELECT s.parent_session_id AS id, 1 AS rank FROM session_chain.sessions s
            WHERE s.project_id = p_project AND s.session_id = line.id
          UNION ALL
          SELECT t.parent_session_id, 1 FROM session_chain.all_transitions(p_project) t
            WHERE t.seq IS NOT NULL AND t.new_session_id = line.id
          UNION ALL
          SELECT t.old_session_id, 2 FROM session_chain.all_transitions(p_project) t
            WHERE t.seq IS NOT NULL AND t.new_session_id = line.id AND t.rewound_to IS NULL
        ) parent WHERE parent.id IS NOT NULL
      ) reached GROUP BY reached.id ORDER BY min(reached.rank), reached.id
    ) nearer
  )
  SELECT l.id, (l.n - 1)::integer FROM (SELECT id, row_number() OVER () AS n FROM line) l WHERE l.n > 1
$$;
