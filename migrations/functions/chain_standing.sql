-- The standing of a chain that presents its ticket, and the head that it knows (null: none). The lineage only grows,
-- and a chain's row keeps its last ticket: a ticket that it never gave, and a head that never was one, belong to what
-- the database has lost.
--   holds              it holds the project, and the lineage holds its head
--   fenced             it is closed, or a later ticket has taken over
--   went_back          the database does not know the ticket or the head
--   request_lost       the database does not know the chain, or not that it was asked for again
--   project_not_found, version_not_found   the row is gone
CREATE FUNCTION session_chain.chain_standing(p_project text, p_chain bigint, p_ticket bigint, p_head text) RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT CASE
    WHEN NOT EXISTS (SELECT FROM projects p WHERE p.project_id = session_chain.project_key(p_project)) THEN 'project_not_found'
    WHEN c.id IS NULL OR (c.closed_at IS NOT NULL AND p_ticket > coalesce(c.last_ticket, 0)) THEN 'request_lost'
    WHEN p_ticket > coalesce(c.last_ticket, 0) THEN 'went_back'
    WHEN c.closed_at IS NOT NULL OR c.ticket IS DISTINCT FROM p_ticket THEN 'fenced'
    WHEN NOT EXISTS (SELECT FROM project_versions v WHERE v.version_id = session_chain.version_key(c.version_id)
      AND v.project_id = session_chain.project_key(p_project)) THEN 'version_not_found'
    WHEN c.status <> 'queued' AND (p_head IS NULL OR EXISTS (SELECT FROM session_chain.all_transitions(p_project) t
      WHERE t.new_session_id = p_head AND t.seq IS NOT NULL)) THEN 'holds'
    ELSE 'went_back'
  END
  FROM (SELECT 1) one LEFT JOIN session_chain.chains c ON c.id = p_chain AND c.project_id = p_project
$$;
