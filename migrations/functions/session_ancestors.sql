-- The sessions that a session comes from, nearest first: what it forked before what it replaced as head. `distance`
-- counts them. What a rewind replaced is no ancestor of it. UNION drops what was reached before, so that every session
-- is visited once. What each session comes from is read once, into an object: sessions and transitions that are looked up
-- level by level cost whatever the planner takes each look to be, which may be all of the project.
CREATE FUNCTION session_chain.session_ancestors(p_project text, p_session text)
RETURNS TABLE (session_id text, distance integer)
LANGUAGE plpgsql STABLE AS $$
DECLARE
  -- By session: the ranks of its parents by their ids.
  v_parents jsonb;
BEGIN
  SELECT jsonb_object_agg(of_one.id, of_one.parents) INTO v_parents FROM (
    SELECT nearest.id, jsonb_object_agg(nearest.parent, nearest.rank) AS parents FROM (
      SELECT link.id, link.parent, min(link.rank) AS rank FROM (
        SELECT s.session_id AS id, s.parent_session_id AS parent, 1 AS rank FROM session_chain.sessions s
          WHERE s.project_id = p_project
        UNION ALL
        SELECT t.new_session_id, before.id, before.rank FROM session_chain.all_transitions(p_project) t
          CROSS JOIN LATERAL (VALUES (t.parent_session_id, 1),
            (CASE WHEN t.rewound_to IS NULL THEN t.old_session_id END, 2)) AS before (id, rank)
          WHERE t.seq IS NOT NULL
      ) link WHERE link.parent IS NOT NULL GROUP BY link.id, link.parent
    ) nearest GROUP BY nearest.id
  ) of_one;
  RETURN QUERY
    WITH RECURSIVE line (id) AS (
      SELECT p_session
      UNION
      SELECT nearer.id FROM (
        SELECT reached.id FROM (
          SELECT parent.key AS id, parent.value::integer AS rank
          FROM line CROSS JOIN LATERAL jsonb_each(v_parents -> line.id) AS parent
        ) reached GROUP BY reached.id ORDER BY min(reached.rank), reached.id
      ) nearer
    )
    SELECT l.id, (l.n - 1)::integer FROM (SELECT line.id, row_number() OVER () AS n FROM line) l WHERE l.n > 1;
END
$$;
