-- The sessions of a project whose transcripts are to be dropped: those that nothing needs, see needed_sessions, and that a
-- file of the archive holds which was verified more than p_drop_days ago.
CREATE FUNCTION session_chain.droppable_sessions(p_project text, p_days integer, p_drop_days integer)
RETURNS TABLE (id bigint, session_id text, part uuid)
LANGUAGE sql STABLE AS $$
  SELECT s.id, s.session_id, p.id FROM session_chain.sessions s JOIN session_chain.archive_parts p ON p.id = s.archive_part
  WHERE s.project_id = p_project AND s.dropped_at IS NULL
    AND p.state = 'verified' AND p.verified_at < clock_timestamp() - make_interval(days => p_drop_days)
    AND s.session_id NOT IN (SELECT n.session_id FROM session_chain.needed_sessions(p_project, p_days) n)
$$;
