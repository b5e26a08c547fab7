-- Ends that wait for their call, at most p_limit, the longest waiting first. Each is taken by one caller for a minute, in
-- which its workflow starts; one whose call has begun before, for five. Says that ends are wanted: from then on they are
-- recorded. Forgets what was delivered 30 days ago, but in projects on hold.
CREATE FUNCTION session_chain.take_ends(p_limit integer)
RETURNS TABLE (key uuid, project_id text, version_id text, build_id text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  UPDATE session_chain.installation i SET ends_wanted_at = clock_timestamp()
    WHERE i.ends_wanted_at IS NULL OR i.ends_wanted_at < clock_timestamp() - interval '1 hour';
  DELETE FROM session_chain.chain_ends e WHERE e.id IN (SELECT o.id FROM session_chain.chain_ends o
    WHERE o.delivered_at < clock_timestamp() - interval '30 days'
      AND NOT EXISTS (SELECT FROM session_chain.project_retention r WHERE r.project_id = o.project_id AND r.held_at IS NOT NULL)
    ORDER BY o.delivered_at LIMIT 100 FOR UPDATE SKIP LOCKED);
  RETURN QUERY UPDATE session_chain.chain_ends e SET due_at = clock_timestamp() + CASE e.rounds WHEN 0 THEN interval '1 minute' ELSE interval '5 minutes' END
    WHERE e.id IN (SELECT o.id FROM session_chain.chain_ends o WHERE o.delivered_at IS NULL AND o.due_at <= clock_timestamp()
      ORDER BY o.due_at LIMIT p_limit FOR UPDATE SKIP LOCKED)
    RETURNING e.key, e.project_id, e.version_id, e.build_id;
END
$$;
